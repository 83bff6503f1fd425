"""From what was heard, answered and spoken to rates. What failed gives rates without items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import captions, qa
from evals.data import questions, slots
from evals.jobs import Item, Job
from evals.plan import NOISY, Plan
from evals.rates import Rate
from evals.setup import Setup


@dataclass(frozen=True)
class Measured:
    """A plan and the results of its jobs; ``None`` for a setup is Whisper base, or the teacher.

    Attributes:
        seed: of the intervals.
    """

    plan: Plan
    results: Mapping[Job[Any], list[Item]]
    seed: int = 0

    def items(self, job: Job[Any]) -> list[Item]:
        """What came of a job, nothing if it failed."""
        return self.results.get(job, [])

    def spoken(self, setup: Setup, folder: Path, under: str | None = None) -> Rate:
        """Questions answered correctly when asked by voice."""
        return qa.right(self.items(self.plan.ask(setup, folder, under)), "spoken_answer")

    def typed(self, setup: Setup, folder: Path, under: str | None = None) -> Rate:
        """Questions answered correctly when their captions are typed in."""
        return qa.typed(self.items(self.plan.ask(setup, folder, under)))

    def read(self, setup: Setup, folder: Path) -> Rate:
        """Questions answered correctly when given as text."""
        return qa.right(self.items(self.plan.read(setup, folder)), "text_answer")

    def ratio(self, setup: Setup, folder: Path, under: str | None = None) -> Rate:
        """Spoken over text accuracy."""
        return _over(self.spoken(setup, folder, under), self.read(setup, folder))

    def kept(self, setup: Setup, folder: Path) -> Rate:
        """What is left of the ratio in noise: the text side is the same and drops out."""
        return _over(self.spoken(setup, folder, NOISY), self.spoken(setup, folder))

    def question_errors(self, setup: Setup | None, folder: Path, under: str | None = None) -> Rate:
        """Word errors of the captions of questions."""
        items = self.items(self.plan.hear(setup, folder, under))
        asked = questions(folder, len(items), self.plan.half) if items else []
        return captions.errors([item.question for item in asked], items)

    def recording_errors(self, setup: Setup, folder: Path) -> Rate:
        """Word errors of captions against what Whisper base reads in the same recordings."""
        items = self.items(self.plan.hear(setup, folder))
        references = self.items(self.plan.hear(None, folder))
        if not (items and references):
            return Rate()
        return captions.errors([item["caption"] for item in references], items)

    def transcript_errors(self, setup: Setup | None, folder: Path) -> Rate:
        """Word errors of captions against what is said, where somebody wrote it down."""
        return captions.transcript_errors(folder, self.items(self.plan.hear(setup, folder)))

    def phrases(self, setup: Setup | None, folder: Path) -> Rate:
        """Phrases found in captions."""
        items = self.items(self.plan.hear(setup, folder))
        wanted = slots(folder, self.plan.limit, self.plan.half) if items else []
        return captions.found([item.phrases for item in wanted], items)

    def files(self, setup: Setup | None, folder: Path) -> list[str]:
        """The names of the recordings that were captioned."""
        return [str(item["file"]) for item in self.items(self.plan.hear(setup, folder))]

    def sentences(self, setup: Setup | None) -> list[Item]:
        """All sentences as they were spoken, the first of them first."""
        parts = [self.items(job) for job in reversed(self.plan.spoken(setup))]
        return [item for part in parts for item in part] if all(parts) else []

    def ablated(self, setup: Setup | None, top_k: int | None, prefix: bool) -> list[Item]:
        """The sentences of the ablation."""
        return self.items(self.plan.ablated(setup, top_k, prefix))

    def scenes(self, setup: Setup, kind: str) -> list[Item]:
        """What came of the scenes of a kind."""
        return self.items(self.plan.converse(setup, kind))

    def long_answers(self, setup: Setup | None) -> list[Item]:
        """Long answers as they were spoken."""
        return self.items(self.plan.long_answers(setup))


def _over(rate: Rate, other: Rate) -> Rate:
    return Rate(rate.parts, other.parts) if rate.parts and other.parts else Rate()
