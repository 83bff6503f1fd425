"""Measuring sets: tables are read as they are and refused when they cannot be meant."""

from pathlib import Path

import pytest

from edge_omni.errors import UsageError
from evals import data, report
from evals.voice import SENTENCES


def test_questions_are_read(tmp_path: Path) -> None:
    (tmp_path / "questions.tsv").write_text(
        'file\tquestion\tanswer\na.flac\tWho wrote "Emma"?\tJane Austen|Austen\nb.wav\tWhy?\tSo\n'
    )
    first, second = data.questions(tmp_path)
    assert first == data.Question(tmp_path / "a.flac", 'Who wrote "Emma"?', "Jane Austen|Austen")
    assert second.audio.name == "b.wav"
    assert data.questions(tmp_path, limit=1) == [first]


def test_slots_are_read(tmp_path: Path) -> None:
    (tmp_path / "slots.tsv").write_text("file\tslots\na.flac\tlatte|dark roast\n")
    assert data.slots(tmp_path) == [data.Slots(tmp_path / "a.flac", ("latte", "dark roast"))]


@pytest.mark.parametrize("content", [None, "", "file\tquestion\n", "file\tquestion\na\tb\n"])
def test_a_table_without_its_columns_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "questions.tsv").write_text(content)
    with pytest.raises(UsageError, match="file, question, answer"):
        data.questions(tmp_path)


def test_halves_are_counted_from_one_and_limited_afterwards() -> None:
    items = ["first", "second", "third", "fourth", "fifth"]
    assert data.chosen(items, half="odd") == ["first", "third", "fifth"]
    assert data.chosen(items, half="even") == ["second", "fourth"]
    assert data.chosen(items, 1, "even") == ["second"]
    assert data.chosen(items) == items


def test_another_half_is_refused() -> None:
    with pytest.raises(UsageError, match="odd and even"):
        data.chosen([], half="last")


def test_transcripts_are_read_and_their_source_is_left_out(tmp_path: Path) -> None:
    assert data.transcripts(tmp_path) == {}
    (tmp_path / "transcripts.tsv").write_text("# CC BY 4.0\nid\ttranscript\n1-2\tWE SAID\n")
    assert data.transcripts(tmp_path) == {"1-2": "WE SAID"}


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sound files"):
        data.sounds(tmp_path)


def test_figures_that_cannot_be_written_are_refused_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        report.check(tmp_path / "none" / "figures.json")


def test_the_sentences_for_the_voice_are_many_and_all_different() -> None:
    sentences = SENTENCES.read_text("utf-8").splitlines()
    assert len(sentences) >= 200
    assert len(set(sentences)) == len(sentences)
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_recordings_with_more_beside_them_are_measured_otherwise(tmp_path: Path) -> None:
    for name in ("plain", "meetings", "told"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.flac").touch()
    (tmp_path / "meetings" / "speakers.rttm").touch()
    (tmp_path / "told" / data.TRANSCRIPTS).touch()
    assert data.find(tmp_path).recordings == (tmp_path / "plain", tmp_path / "told")
