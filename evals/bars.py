"""The section on the bars that the project has set itself, and whether they are met."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from evals import duplex, lengthy, report
from evals.measured import Measured
from evals.page import Row, Section, Table
from evals.scenes import kinds
from evals.setup import Setup
from evals.voice import misheard_words

RATIO, KEPT = 0.95, 0.85
QUESTION_ERRORS, RECORDING_ERRORS, PHRASES = 0.025, 0.15, 0.79
ABOVE_TEACHER = 0.03
RIGHT = {
    "pause": 0.85, "turn": 0.95, "interruption": 0.9, "backchannel": 0.9,
    "background speech": 0.85, "noise": 0.85, "echo": 0.98,
}  # fmt: skip
"""Of each kind of scene the share that should go as it should."""
FIRST_SOUND, SILENT = {50: 0.7, 90: 1.1}, 0.4
"""Seconds: percentiles until the answer's first sound, and the median until an interrupted one is
silent."""
MEGABYTES = 110


@dataclass(frozen=True)
class Bar:
    """A figure and the value that it should reach.

    Attributes:
        most: whether it should be no more than that, instead of no less.
        scale, digits, unit: how both are written.
    """

    name: str
    value: float
    limit: float
    most: bool = False
    scale: float = 1
    digits: int = 2
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it reaches the value."""
        return self.value <= self.limit if self.most else self.value >= self.limit

    def written(self, value: float) -> str:
        """A value of this figure."""
        return report.number(value, self.digits, self.scale, self.unit)

    @property
    def verdict(self) -> str:
        """Met, or by how much it is missed."""
        if math.isnan(self.value):
            return "not measured"
        short = self.written(abs(self.value - self.limit)).replace(" %", " points")
        return "met" if self.met else f"missed by {short}"


def section(measured: Measured) -> Section:
    """Every bar, for every bundle."""
    found = [list(bars(measured, setup)) for setup in measured.plan.setups]
    rows: list[Row] = []
    for same in zip(*found, strict=True):
        wanted = f"at {'most' if same[0].most else 'least'} {same[0].written(same[0].limit)}"
        verdicts = [text for bar in same for text in (bar.written(bar.value), bar.verdict)]
        rows.append((same[0].name, wanted, *verdicts))
    labels = [text for setup in measured.plan.setups for text in (setup.label, "")]
    limit = measured.plan.limit
    return Section(
        "Bars",
        "What the project has set itself."
        + (f" Only the first {limit} of each kind of thing were measured." if limit else ""),
        [Table("", ("", "bar", *labels), rows)],
    )


def bars(measured: Measured, setup: Setup) -> Iterator[Bar]:
    """The bars of one bundle."""
    sets = measured.plan.sets
    percent = {"scale": 100, "digits": 1, "unit": " %"}
    for folder in sets.questions:
        name = folder.name
        yield Bar(f"spoken / text accuracy, {name}", measured.ratio(setup, folder).value, RATIO)
        if sets.noise:
            kept = measured.kept(setup, folder).value
            yield Bar(f"share of that ratio kept at 10 dB of noise, {name}", kept, KEPT)
        errors = measured.question_errors(setup, folder).value
        yield Bar(f"captions, word error rate, {name}", errors, QUESTION_ERRORS, True, **percent)
    for folder in sets.recordings:
        errors = measured.recording_errors(setup, folder).value
        name = f"captions, word error rate, {folder.name}"
        yield Bar(name, errors, RECORDING_ERRORS, True, **percent)
    for folder in sets.slots:
        found = measured.phrases(setup, folder).value
        yield Bar(f"phrases found, {folder.name}", found, PHRASES, **percent)
    ours, taught = (misheard_words(measured.sentences(who)) for who in (setup, None))
    above = ours.above(taught).value
    yield Bar(
        "voice, word error rate above the teacher's", above, ABOVE_TEACHER, True, 100, 1, " points"
    )
    answers = measured.long_answers(setup)
    faults = [lengthy.measure(item["text"], item["heard"]) for item in answers]
    faulty = sum(any(fault.values()) for fault in faults) if faults else math.nan
    yield Bar(f"of {len(answers)} long answers loop or stop early", faulty, 0, True, digits=0)
    yield from _conversing(measured, setup)
    size = sum(file.bytes for file in setup.manifest.files.values()) / 1e6
    yield Bar("runtime files without the LLM", size, MEGABYTES, True, 1, 1, " MB")


def _conversing(measured: Measured, setup: Setup) -> Iterator[Bar]:
    for kind in kinds(measured.plan.sets):
        if kind in RIGHT:
            right = duplex.right(measured.scenes(setup, kind)).value
            yield Bar(duplex.TITLES[kind], right, RIGHT[kind], scale=100, digits=0, unit=" %")
        if kind == "turn":
            for q, most in FIRST_SOUND.items():
                found = duplex.quantile(measured.scenes(setup, kind), "first", q)
                yield Bar(f"— first sound, p{q}", found, most, True, 1000, 0, " ms")
        if kind == "interruption":
            found = duplex.quantile(measured.scenes(setup, kind), "stop", 50)
            yield Bar("— silent, p50", found, SILENT, True, 1000, 0, " ms")
