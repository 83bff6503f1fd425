"""A long conversation: whether memory, latency and delay stay as they are.

Questions are asked one after another, the speaker as loud in the microphone as the user, in a room
whose clock computing takes its time on and waiting does not (``evals.room.Stage``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID
from rich.table import Table

from edge_omni.assistant import Assistant, Turn
from edge_omni.audio.voice_activity import FRAME
from edge_omni.loop import Loop, Observer
from evals import data, report
from evals.duplex import WORDING
from evals.machine import resident_memory
from evals.room import RATE, Stage
from evals.scenes import Materials, power

GAP = 1.5  # seconds from the end of an answer to the next question
PATIENCE = 6.0  # seconds after a question without any answer
PARTS = 6


@dataclass
class Asked:
    """One question of the conversation; seconds on the microphone's clock.

    Attributes:
        at: when its last sample was said.
        first: from then to the first sound of the answer; NaN for none.
        late: how far behind the clock the loop was then.
        memory: resident bytes of this process.
        tokens: what the conversation takes of the LLM's memory.
    """

    at: float
    first: float = math.nan
    late: float = 0.0
    memory: int = 0
    tokens: int = 0


class _Over(Exception):
    """The time is over."""


class Talk(Stage):
    """A user who asks the next question when an answer is over."""

    def __init__(
        self, questions: Sequence[NDArray[np.float32]], assistant: Assistant, until: float
    ) -> None:
        super().__init__(np.zeros(RATE // 2, np.float32), assistant.sample_rate)
        self._questions, self._assistant, self.until = questions, assistant, until
        self._recording = _Nothing()
        self.asked: list[Asked] = []
        self._quiet = 0.0
        self._bar = Progress(console=report.console, transient=True)
        self._task: TaskID = self._bar.add_task("conversation", total=until)

    def ticked(self) -> None:
        """Ask, note what came of it, or end."""
        asked = self.asked[-1] if self.asked else None
        if self.speaking[-1]:
            self._quiet = 0.0
            if asked is not None and math.isnan(asked.first) and self.now > asked.at:
                asked.first = len(self.speaking) * FRAME / RATE - asked.at
                asked.late = max(0.0, self.time - self.now)
                asked.memory = resident_memory()
                asked.tokens = self._assistant.conversation.position
        elif asked is None or self.now > asked.at:
            self._quiet += FRAME / RATE
        waited = GAP if asked is None or not math.isnan(asked.first) else PATIENCE
        if self.now > self.until:
            raise _Over
        if self._quiet > waited:
            question = self._questions[len(self.asked) % len(self._questions)]
            self.say(question)
            self.asked.append(Asked(self.now + len(question) / RATE))
            self._quiet = 0.0
            self._bar.update(self._task, completed=self.now)


class _Nothing(list[NDArray[np.float32]]):
    """A recording that nobody keeps: an hour of sound would be what is measured."""

    def append(self, item: NDArray[np.float32]) -> None:
        """Forget it."""


def run(
    folder: Path,
    *,
    minutes: float = 60,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Talk for so many minutes and show how it went, in parts."""
    report.check(json_path)
    assistant = Assistant(bundle, llm=llm, threads=1)
    materials = Materials.of(data.find(folder), power(assistant.say(WORDING).audio), 150)
    assistant.reset()
    talk = Talk(materials.turns, assistant, 60 * minutes)
    turns: list[Turn] = []
    loop = Loop(assistant, talk, Observer())
    try:
        with talk._bar:
            loop.run()
    except _Over:
        turns = loop.turns
    parts = [_part(talk.asked, minutes, number, len(turns)) for number in range(PARTS)]
    interrupted = sum(turn.interrupted for turn in turns)
    figures = {"minutes": minutes, "turns": len(turns), "interrupted": interrupted, "parts": parts}
    _show(figures)
    report.save(json_path, figures)
    assistant.close()
    return figures


def _part(asked: Sequence[Asked], minutes: float, number: int, turns: int) -> dict[str, float]:
    start, end = (60 * minutes * n / PARTS for n in (number, number + 1))
    these = [item for item in asked if start <= item.at < end and not math.isnan(item.first)]
    if not these:
        return {"questions": 0}
    firsts = [item.first for item in these]
    return {
        "questions": sum(start <= item.at < end for item in asked),
        "answered": len(these),
        "first_p50": float(np.percentile(firsts, 50)),
        "first_p90": float(np.percentile(firsts, 90)),
        "late": max(item.late for item in these),
        "memory": max(item.memory for item in these),
        "tokens": max(item.tokens for item in these),
    }


def _show(figures: dict[str, Any]) -> None:
    title = (
        f"{figures['minutes']:.0f} minutes, {figures['turns']} turns, {figures['interrupted']} of "
        "them interrupted"
    )
    table = Table(title=title, title_justify="left")
    for name in (
        "minutes",
        "questions",
        "answered",
        "first sound p50",
        "p90",
        "late",
        "memory",
        "LLM",
    ):
        table.add_column(name, justify="right")
    for number, part in enumerate(figures["parts"]):
        if part["questions"]:
            table.add_row(
                f"to {figures['minutes'] * (number + 1) / PARTS:.0f}",
                f"{part['questions']}",
                f"{part['answered']}",
                f"{1000 * part['first_p50']:.0f} ms",
                f"{1000 * part['first_p90']:.0f} ms",
                f"{1000 * part['late']:.0f} ms",
                f"{part['memory'] / 1e6:.0f} MB",
                f"{part['tokens']} tokens",
            )
    report.console.print(table)
