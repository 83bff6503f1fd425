"""Everything that one report needs to be measured, as a list of jobs without repetition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals import lengthy, voice
from evals.captions import Hear
from evals.data import Sets
from evals.duplex import SYSTEM, Converse
from evals.jobs import Job
from evals.qa import Ask, Read
from evals.scenes import kinds
from evals.setup import Setup
from evals.voice import Speak

NOISY = "noise:10"
"""The condition under which questions are not only heard but answered."""
CONDITIONS = {
    None: "clean",
    "noise:20": "noise at 20 dB",
    NOISY: "noise at 10 dB",
    "noise:5": "noise at 5 dB",
    "noise:0": "noise at 0 dB",
    "room:0.3": "room, 0.3 s of echo",
    "room:0.6": "room, 0.6 s of echo",
    "speed:0.8": "speed 0.8",
    "speed:0.9": "speed 0.9",
    "speed:1.1": "speed 1.1",
    "speed:1.25": "speed 1.25",
    "telephone": "telephone, 300 to 3400 Hz",
}
TOP_K = (1, 2, 3, 4, 5)
ABLATED = 30  # sentences
CONDITIONED = 50
"""Questions heard in every condition; clean and under ``NOISY`` all of them are."""


@dataclass(frozen=True)
class Plan:
    """What is measured on what.

    Attributes:
        setups: the bundle, and another one to set beside it if there is one.
        brains: the bundle with other LLMs, which are asked the questions only.
        sets: what to measure on.
        limit: only the first so many of each kind of thing.
        half: of questions, orders and recordings only this half, "odd" or "even".
    """

    setups: tuple[Setup, ...]
    brains: tuple[Setup, ...]
    sets: Sets
    limit: int | None = None
    half: str | None = None

    def jobs(self) -> list[Job[Any]]:
        """All jobs, what matters most first, so that a run that is stopped early tells it."""
        jobs: list[Job[Any]] = []
        for setup in (*self.setups, None):
            jobs += [*self.spoken(setup), *self._hearing(setup)]
        for setup in self.setups:
            jobs += [self.converse(setup, kind) for kind in kinds(self.sets)]
        for setup in self.setups:
            jobs += [self.long_answers(setup)]
            jobs += [self.ablated(setup, top_k, p) for p in (True, False) for top_k in TOP_K]
        jobs.append(self.long_answers(None))
        for brain in self.brains:
            for folder in self.sets.questions:
                jobs += [self.ask(brain, folder), self.read(brain, folder)]
        return list(dict.fromkeys(jobs))

    def _hearing(self, setup: Setup | None) -> Iterator[Job[Any]]:
        for folder in (*self.sets.recordings, *self.sets.slots):
            yield self.hear(setup, folder)
        for folder in self.sets.questions:
            if setup:
                yield self.read(setup, folder)
            for under in self.conditions():
                yield self.hear(setup, folder, under)

    def conditions(self) -> list[str | None]:
        """The conditions that questions are heard under."""
        return [
            under
            for under in CONDITIONS
            if self.sets.noise or not (under or "").startswith("noise:")
        ]

    def ask(self, setup: Setup, folder: Path, under: str | None = None) -> Ask:
        """Questions asked by voice, and their captions typed in."""
        return Ask(setup, folder, under, self._noise(under), self.limit, self.half)

    def read(self, setup: Setup, folder: Path) -> Read:
        """The same questions as text."""
        return Read(setup, folder, self.limit, self.half)

    def hear(self, setup: Setup | None, folder: Path, under: str | None = None) -> Ask | Hear:
        """Captions. Whoever asks a question has its caption too."""
        if setup and folder in self.sets.questions and under in (None, NOISY):
            return self.ask(setup, folder, under)
        limit = self.limit
        if folder in self.sets.questions and under not in (None, NOISY):
            limit = min(limit or CONDITIONED, CONDITIONED)
        return Hear(setup, folder, under, self._noise(under), limit, self.half)

    def spoken(self, setup: Setup | None) -> list[Speak]:
        """All sentences. The first of them are those that the ablation is made with."""
        texts = voice.sentences(self.limit)
        first = self.ablated(setup, None, True)
        rest = Speak(setup, f"{voice.TITLE} from {ABLATED}", texts[ABLATED:])
        return [rest, first] if rest.texts else [first]

    def ablated(self, setup: Setup | None, top_k: int | None, prefix: bool) -> Speak:
        """The first sentences, with another top-k than the bundle's, or without the prefix."""
        texts = voice.sentences(self.limit)[:ABLATED]
        return Speak(setup, f"{voice.TITLE} to {ABLATED}", texts, top_k, prefix)

    def converse(self, setup: Setup, kind: str) -> Converse:
        """Scenes of one kind."""
        return Converse(replace(setup, system=SYSTEM, threads=1), self.sets, kind, self.limit)

    def long_answers(self, setup: Setup | None) -> Speak:
        """Long answers."""
        count = min(self.limit or lengthy.COUNT, lengthy.COUNT)
        return Speak(setup, lengthy.TITLE, tuple(lengthy.texts(count)))

    def _noise(self, under: str | None) -> Path | None:
        return self.sets.noise if (under or "").startswith("noise:") else None
