"""Folders to measure on: sound files and a table that says what each of them holds."""

import csv
from dataclasses import dataclass
from pathlib import Path

from edge_omni.errors import UsageError

QUESTIONS = "questions.tsv"
SLOTS = "slots.tsv"
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


@dataclass(frozen=True)
class Question:
    """A row of questions.tsv. `answer` may hold several accepted answers, parted by |."""

    audio: Path
    question: str
    answer: str


@dataclass(frozen=True)
class Slots:
    """A row of slots.tsv: the phrases that the speaker says."""

    audio: Path
    phrases: tuple[str, ...]


def questions(folder: Path, limit: int | None = None) -> list[Question]:
    """The rows of questions.tsv (file, question, answer), the first `limit` of them."""
    return [
        Question(folder / row["file"], row["question"], row["answer"])
        for row in _rows(folder / QUESTIONS, ("file", "question", "answer"), limit)
    ]


def slots(folder: Path, limit: int | None = None) -> list[Slots]:
    """The rows of slots.tsv (file, slots), the first `limit` of them."""
    return [
        Slots(folder / row["file"], tuple(filter(None, row["slots"].split("|"))))
        for row in _rows(folder / SLOTS, ("file", "slots"), limit)
    ]


def sounds(folder: Path, limit: int | None = None) -> list[Path]:
    """The sound files of a folder without a table, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)
    if not found:
        raise UsageError(f"{folder} holds no sound files.")
    return found[:limit]


def _rows(table: Path, columns: tuple[str, ...], limit: int | None) -> list[dict[str, str]]:
    if not table.is_file():
        raise UsageError(f"{table} is missing: a table with the columns {', '.join(columns)}.")
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or any(not row.get(column) for row in rows for column in columns):
        raise UsageError(f"{table} needs the columns {', '.join(columns)}, none of them empty.")
    return rows[:limit]
