"""Each evaluation runs on real parts and prints and writes what it promises."""

import json
import shutil
from pathlib import Path

import pytest

from evals import bench, captions, endurance, qa, voice

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


def test_spoken_questions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "questions.tsv").write_text(QUESTIONS)
    figures = qa.run(folder, json_path=folder / "figures.json")
    assert json.loads((folder / "figures.json").read_text()) == figures
    assert figures["counts"]["questions"] == len(figures["items"]) == 2
    assert figures["wer"] <= 0.25
    assert 0 <= figures["accuracy"] <= 1
    assert figures["text_accuracy"] == figures["counts"]["text_correct"] / 2
    for low, high in figures["intervals"].values():
        assert 0 <= low <= high
    assert all(item["spoken_answer"] and item["text_answer"] for item in figures["items"])
    assert "word error rate" in capsys.readouterr().out


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
