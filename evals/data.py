"""Folders to measure on: sound files and a table that says what each of them holds."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_omni.errors import UsageError

QUESTIONS = "questions.tsv"
SLOTS = "slots.tsv"
TRANSCRIPTS = "transcripts.tsv"
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
NOISE = "noise"
HALVES = {"odd": 0, "even": 1}
"""Items by their numbers, counted from 1 in the order of the table. What a setting was chosen on is
one half, and what is reported beside it the other."""

Item = TypeVar("Item")


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


@dataclass(frozen=True)
class Sets:
    """Folders to measure on, by what is in them.

    Attributes:
        questions: with questions.tsv.
        slots: with slots.tsv.
        recordings: with sound files alone.
        noise: a recording to mix into speech, if there is one.
    """

    questions: tuple[Path, ...]
    slots: tuple[Path, ...]
    recordings: tuple[Path, ...]
    noise: Path | None


def find(folder: Path) -> Sets:
    """What ``folder`` and the folders in it hold; noise is the first file of the folder noise.

    Raises:
        UsageError: nothing that could be measured on.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} to measure on. Name one with --data.")
    folder = folder.resolve()
    found: dict[str, list[Path]] = {"questions": [], "slots": [], "recordings": [], NOISE: []}
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (place / QUESTIONS).is_file():
            found["questions"].append(place)
        elif (place / SLOTS).is_file():
            found["slots"].append(place)
        elif _sounds(place) and place.name == NOISE:
            found[NOISE].append(place)
        elif _recordings(place):
            found["recordings"].append(place)
    questions, slots, recordings, noise = map(tuple, found.values())
    if not (questions or slots or recordings):
        raise UsageError(
            f"{folder} holds nothing to measure on: no folder with {QUESTIONS}, with {SLOTS} or "
            "with sound files."
        )
    return Sets(questions, slots, recordings, _sounds(noise[0])[0] if noise else None)


def chosen(items: Sequence[Item], limit: int | None = None, half: str | None = None) -> list[Item]:
    """The first ``limit`` items of a half, "odd" or "even" (see :data:`HALVES`), or of all.

    Raises:
        UsageError: there is no such half.
    """
    if half is None:
        return list(items[:limit])
    if half not in HALVES:
        raise UsageError(f"--half {half}: there are {' and '.join(HALVES)}.")
    return list(items[HALVES[half] :: 2][:limit])


def named(folder: Path, half: str | None = None) -> str:
    """What tables call a folder, or a half of what is in it."""
    return f"{folder.name}, {half} numbers" if half else folder.name


def questions(folder: Path, limit: int | None = None, half: str | None = None) -> list[Question]:
    """The rows of questions.tsv (file, question, answer), as :func:`chosen`."""
    rows = _rows(folder / QUESTIONS, ("file", "question", "answer"))
    found = [Question(folder / row["file"], row["question"], row["answer"]) for row in rows]
    return chosen(found, limit, half)


def slots(folder: Path, limit: int | None = None, half: str | None = None) -> list[Slots]:
    """The rows of slots.tsv (file, slots), as :func:`chosen`."""
    rows = _rows(folder / SLOTS, ("file", "slots"))
    found = [
        Slots(folder / row["file"], tuple(filter(None, row["slots"].split("|")))) for row in rows
    ]
    return chosen(found, limit, half)


def sounds(folder: Path, limit: int | None = None, half: str | None = None) -> list[Path]:
    """The sound files of a folder without a table, by name, as :func:`chosen`."""
    found = _sounds(folder)
    if not found:
        raise UsageError(f"{folder} holds no sound files.")
    return chosen(found, limit, half)


def transcripts(folder: Path) -> dict[str, str]:
    """The rows of transcripts.tsv (id, transcript): what is said in the recording that is called
    so, whatever its ending. Empty where there is no such table, as beside most recordings."""
    table = folder / TRANSCRIPTS
    if not table.is_file():
        return {}
    return {row["id"]: row["transcript"] for row in _rows(table, ("id", "transcript"))}


def _recordings(folder: Path) -> bool:
    """Whether a folder holds sound files alone, and at most their transcripts. What holds more,
    such as meetings with who speaks when, or another language, is measured otherwise."""
    names = {path.name for path in folder.iterdir() if path.is_file()} - {TRANSCRIPTS}
    return bool(names) and len(_sounds(folder)) == len(names)


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table; lines before and between them that begin with # say where it is from."""
    if not table.is_file():
        raise UsageError(f"{table} is missing: a table with the columns {', '.join(columns)}.")
    with table.open(encoding="utf-8", newline="") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or any(not row.get(column) for row in rows for column in columns):
        raise UsageError(f"{table} needs the columns {', '.join(columns)}, none of them empty.")
    return rows
