"""Each evaluation runs on real parts and prints and writes what it promises."""

import json
import shutil
from pathlib import Path

import pytest

from edge_omni.errors import UsageError
from evals import bench, captions, endurance, numbers, qa, voice
from evals.rates import Rate

SAMPLES = Path(__file__).parents[2] / "samples"
QUESTIONS = """file\tquestion\tanswer
question.wav\tWhat do plants need to grow?\twater|sunlight|light
follow-up.wav\tAnd how often should I water them?\tday|week|month
"""
SLOTS = """file\tslots
question.wav\tplants|grow
follow-up.wav\thow often|water|unicorn
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The two sample questions as a measuring set."""
    for sample in SAMPLES.glob("*.wav"):
        shutil.copy(sample, tmp_path)
    return tmp_path


def _questions(folder: Path, table: str) -> Path:
    (folder / "questions.tsv").write_text(table)
    return folder


def test_spoken_questions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = qa.run(folder, json_path=folder / "figures.json")
    assert json.loads((folder / "figures.json").read_text()) == figures
    assert figures["counts"]["questions"] == len(figures["items"]) == 2
    assert figures["wer"] <= 0.25
    assert 0 <= figures["accuracy"] <= 1
    assert figures["text_accuracy"] == figures["counts"]["text_correct"] / 2
    assert figures["caption_accuracy"] == figures["counts"]["caption_correct"] / 2
    for name in ("accuracy", "caption_accuracy", "text_accuracy", "above_text", "above_caption"):
        low, high = figures["intervals"][name]
        assert low <= figures[name] <= high
    for item in figures["items"]:
        assert all(item[name] for name in ("spoken_answer", "caption_answer", "text_answer"))
    assert "word error rate" in capsys.readouterr().out


def test_a_caption_that_reads_as_the_question_is_answered_as_the_question(folder: Path) -> None:
    """It is typed into a conversation of its own, with the same prompt, as the question is."""
    heard = captions.run(_questions(folder, QUESTIONS), limit=1)["items"][0]["caption"]
    first = QUESTIONS.splitlines()[1].split("\t")[1]
    (item,) = qa.run(_questions(folder, QUESTIONS.replace(first, heard)), limit=1)["items"]
    assert item["caption"] == item["question"]
    assert item["caption_answer"] == item["text_answer"]


def test_an_adapter_that_knows_no_words_has_no_captions_to_type_in() -> None:
    mute = {"caption": "", "caption_answer": "", "answer": "light"}
    assert qa.typed([mute]) == Rate()
    assert qa.typed([mute, {**mute, "caption": "What?", "caption_answer": "Light."}]).value == 0.5


def test_items_with_even_numbers_only(folder: Path) -> None:
    figures = captions.run(_questions(folder, QUESTIONS), half="even")
    assert figures["half"] == "even"
    assert [item["file"] for item in figures["items"]] == ["follow-up.wav"]
    with pytest.raises(UsageError, match="odd and even"):
        captions.run(folder, half="third")


def test_captions_against_questions(folder: Path) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = captions.run(folder, limit=1, json_path=folder / "figures.json")
    assert figures["wer"] <= 0.2
    assert figures["counts"] == {"recordings": 1}


def test_captions_over_the_telephone(folder: Path) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = captions.run(folder, limit=1, under="telephone")
    assert figures["under"] == "telephone"
    assert figures["wer"] <= 0.5


def test_captions_against_phrases(folder: Path) -> None:
    (folder / "slots.tsv").write_text(SLOTS)
    figures = captions.run(folder)
    assert figures["counts"]["phrases"] == 5
    assert figures["phrases"] == figures["counts"]["found"] / 5
    assert figures["items"][1]["missed"][-1] == "unicorn"


def test_captions_of_bare_recordings_against_whisper(folder: Path) -> None:
    figures = captions.run(folder)
    assert figures["reference"] == "whisper-base"
    assert figures["wer"] <= 0.25


def test_captions_of_bare_recordings_against_transcripts(folder: Path) -> None:
    (folder / "transcripts.tsv").write_text(
        "# From nowhere.\nid\ttranscript\nquestion\tWHAT DO PLANTS NEED TO GROW\n"
    )
    figures = captions.run(folder)
    assert figures["counts"] == {"recordings": 2, "transcripts": 1}
    assert figures["wer_transcripts"] <= 0.2
    assert figures["whisper_wer_transcripts"] <= 0.2


def test_questions_with_numbers(tmp_path: Path) -> None:
    figures = numbers.run(limit=2, json_path=tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    assert figures["questions"] == len(figures["items"]) == 2
    assert [item["voice"] for item in figures["items"]] == [0, 1]
    assert all(item["spoken_answer"] and item["text_answer"] for item in figures["items"])
    assert 0 <= figures["captions_exact"] <= figures["captions_right"] <= 2


def test_numbers_are_counted_as_they_read_and_as_they_are_spelled() -> None:
    def item(caption: str, spoken: str) -> dict[str, str]:
        question = {"question": "What is half of 10?", "text_answer": "Five."}
        return {**question, "caption": caption, "spoken_answer": spoken, "caption_answer": "5"}

    exact, right = item("What is half of 10?", "Five."), item("What is half of ten?", "5")
    figures = numbers.figures([exact, right, item("What is half of tin?", "Tin.")])
    assert figures.pop("wer") == pytest.approx(1 / 15)
    assert figures == {
        "questions": 3,
        "captions_right": 2,
        "captions_exact": 1,
        "same_as_question": 1,
        "same_where_right": 1,
        "same_as_caption": 1,
    }


def test_the_questions_with_numbers_are_fifty_and_are_said_in_words() -> None:
    spoken = numbers.spoken()
    assert len({one.typed for one in spoken}) == 50
    for one in spoken:
        assert any(character.isdigit() for character in one.typed)
        assert not any(character.isdigit() for character in one.said)


def test_the_voice(tmp_path: Path) -> None:
    figures = voice.run(limit=2, json_path=tmp_path / "figures.json")
    assert figures["counts"]["sentences"] == 2
    assert figures["counts"]["seconds"] > 2
    assert figures["wer"] < 0.7
    assert figures["cer"] < figures["wer"] + 0.2


def test_the_benchmark_sets_both_systems_side_by_side(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = bench.run(folder, limit=1, json_path=folder / "figures.json")
    assert json.loads((folder / "figures.json").read_text()) == figures
    for system in ("edge_omni", "cascade"):
        measured = figures[system]
        assert measured["memory_peak"] >= measured["memory_loaded"] > 100
        assert measured["startup"] > 0
        assert measured["listening_cost"] > 0
        steps = measured["steps"]
        assert 0 < steps["heard"]["p50"] < steps["first_token"]["p50"] < steps["first_pcm"]["p50"]
    ours, peer = figures["edge_omni"]["steps"], figures["cascade"]["steps"]
    assert figures["ratio_to_cascade"] == ours["first_pcm"]["p50"] / peer["first_pcm"]["p50"]
    assert "peak memory" in capsys.readouterr().out


def test_a_conversation_of_a_minute(folder: Path) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = endurance.run(folder, minutes=1)
    asked, answered = (
        sum(part.get(name, 0) for part in figures["parts"]) for name in ("questions", "answered")
    )
    assert asked >= answered > 2
    assert figures["turns"] > 2
    assert all(0.1 < part["first_p50"] < 4 for part in figures["parts"] if part["questions"])
