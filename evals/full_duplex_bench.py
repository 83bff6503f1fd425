"""Full-Duplex-Bench's own clips, in its own folders, by its own measures.

The benchmark (Lin et al. 2025, arXiv:2503.04721, github.com/DanielLin94144/Full-Duplex-Bench) has a
folder for each clip: ``input.wav`` is what the user says from beginning to end, whatever the
assistant does meanwhile, and ``pause.json``, ``turn_taking.json`` or ``interrupt.json`` tells which
task it is and when that happens. Its scripts take the times of the answer from a transcript of
``output.wav``; here they are those of the sound itself. ``output.wav`` can be kept for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import soundfile
from rich.table import Table

from edge_omni.assistant import Assistant
from edge_omni.audio import files
from edge_omni.audio.voice_activity import FRAME
from edge_omni.dialogue import RATE
from edge_omni.errors import UsageError
from edge_omni.loop import Loop, Observer
from evals import report
from evals.rates import Rate
from evals.room import Stage

TASKS = {
    "pause": ("pause.json", "pause handling", "takes over (fewer is better)"),
    "turn": ("turn_taking.json", "smooth turn-taking", "takes over"),
    "interruption": ("interrupt.json", "user interruption", "takes over"),
}
"""Of each task the file that tells it, its name and what its rate means."""
SHORTEST = 1.0
"""Seconds: less than that is no turn taken, but a backchannel."""


class _Over(Exception):
    """The clip is over."""


@dataclass(frozen=True)
class Clip:
    """One folder of the benchmark.

    Attributes:
        since: the second from which the answer counts, and from which its latency is counted;
            NaN for an answer at any time.
    """

    task: str
    folder: Path
    since: float


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: whether the assistant took the turn, and after how many seconds."""

    clip: str
    task: str
    took: bool
    latency: float


class _Room(Stage):
    def ticked(self) -> None:
        if self._ticks * FRAME >= len(self._pcm):
            raise _Over


def clips(folder: Path) -> list[Clip]:
    """Every clip in ``folder``.

    Raises:
        UsageError: there is none, or what one says of itself cannot be read.
    """
    found = [
        Clip(task, path.parent, _since(task, path))
        for task, (name, _, _) in TASKS.items()
        for path in sorted(folder.rglob(name))
        if (path.parent / "input.wav").is_file()
    ]
    if not found:
        names = ", ".join(name for name, _, _ in TASKS.values())
        raise UsageError(
            f"No clips of Full-Duplex-Bench in {folder}: they are folders with input.wav and one "
            f"of {names}."
        )
    return found


def _since(task: str, path: Path) -> float:
    try:
        start, end = json.loads(path.read_text("utf-8"))[0]["timestamp"]
        return {"pause": math.nan, "turn": float(start), "interruption": float(end)}[task]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f'{path} does not tell when it happens: it should hold [{{"timestamp": [from, to]}}], '
            "in seconds."
        ) from error


def play(assistant: Assistant, clip: Clip, out: Path | None = None) -> Outcome:
    """Play one clip; ``out`` keeps what the assistant said meanwhile, in the clip's own time."""
    assistant.reset()
    stage = _Room(files.read(clip.folder / "input.wav"), assistant.sample_rate, echo=True)
    with suppress(_Over):
        Loop(assistant, stage, Observer()).run()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        soundfile.write(out / "output.wav", stage.recording(whole=True), assistant.sample_rate)
    return judge(clip, stage.speaking)


def judge(clip: Clip, speaking: Sequence[bool]) -> Outcome:
    """What became of a clip in which the assistant spoke at these ticks of 20 ms.

    What it was saying when an interruption ended, and went on with, is no answer to it. (By the
    benchmark's transcripts, which begin there, it would be one without any latency.)
    """
    first = 0
    if clip.task == "interruption":
        first = math.ceil(clip.since * RATE / FRAME)
        while first < len(speaking) and speaking[first]:
            first += 1
    sounds = [tick * FRAME / RATE for tick in range(first, len(speaking)) if speaking[tick]]
    took = bool(sounds) and sounds[-1] - sounds[0] >= SHORTEST
    latency = max(0.0, sounds[0] - clip.since) if took else math.nan
    return Outcome(str(clip.folder), clip.task, took, latency)


def run(
    folder: Path,
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Play all clips and show the rates of taking over and the latencies."""
    report.check(json_path)
    found = clips(folder)
    assistant = Assistant(bundle, llm=llm, threads=1)
    outcomes = [
        play(assistant, clip, out and out / clip.folder.relative_to(folder))
        for task in TASKS
        for clip in report.progress([c for c in found if c.task == task][:limit], task)
    ]
    assistant.close()
    figures = {
        "tasks": {task: summary([o for o in outcomes if o.task == task]) for task in TASKS},
        "clips": [asdict(outcome) for outcome in outcomes],
    }
    _show(figures["tasks"])
    report.save(json_path, figures)
    return figures


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The rate of taking over, and the mean latency of those turns, in seconds."""
    took = Rate.of((float(outcome.took), 1.0) for outcome in outcomes)
    known = [outcome.latency for outcome in outcomes if not math.isnan(outcome.latency)]
    return {
        "clips": len(outcomes),
        "takeover": asdict(took.interval()),
        "latency": sum(known) / len(known) if known else math.nan,
    }


def _show(tasks: dict[str, Any]) -> None:
    table = Table(title="Full-Duplex-Bench", title_justify="left")
    for name in ("task", "what the rate tells", "rate", "clips", "mean latency"):
        table.add_column(name)
    for task, figures in tasks.items():
        if not figures["clips"]:
            continue
        _, name, meaning = TASKS[task]
        rate, latency = figures["takeover"], figures["latency"]
        table.add_row(
            name,
            meaning,
            f"{rate['value']:.2f} ({rate['low']:.2f} to {rate['high']:.2f})",
            str(figures["clips"]),
            report.NOTHING if math.isnan(latency) else f"{latency:.2f} s",
        )
    report.console.print(table)
