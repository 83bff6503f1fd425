"""The section on spoken questions: asked by voice, by their captions, and as text."""

from __future__ import annotations

import math
from pathlib import Path

from evals import paper, plots, report
from evals.data import named, questions
from evals.measured import Measured
from evals.page import Plot, Row, Section, Table
from evals.plan import NOISY
from evals.rates import Interval
from evals.setup import Setup
from evals.tables import percent, points


def section(measured: Measured) -> Section:
    """Tables of every set of questions, then the paper's."""
    folders = measured.plan.sets.questions
    return Section(
        "Spoken questions",
        "Each question opens a conversation of its own; answers are greedy, 48 tokens long at "
        "most, and right if they hold the reference as whole words. The ratio of spoken to text "
        "accuracy is the bundle's figure, the level is the LLM's. A caption typed in is what a "
        "cascade with the same ears would ask. In brackets: 95 % of what drawing the questions "
        "anew gives; differences are drawn in pairs.",
        [
            *(table for folder in folders for table in _tables(measured, folder)),
            _paper(),
        ],
        [_plot(measured, folder) for folder in folders],
    )


def _tables(measured: Measured, folder: Path) -> list[Table]:
    plan = measured.plan
    count = len(questions(folder, plan.limit, plan.half))
    title = f"{named(folder, plan.half)}, {count} questions"
    noise = [NOISY] if plan.sets.noise else []
    asked = [(setup, under) for setup in plan.setups for under in (None, *noise)]
    asked += [(brain, None) for brain in plan.brains]
    rows = [_row(measured, setup, folder, under) for setup, under in asked]
    rows += [
        (
            f"{setup.label}, ratio kept at 10 dB of noise",
            "",
            "",
            "",
            report.number(measured.kept(setup, folder).interval(measured.seed)),
        )
        for setup in plan.setups
        if noise
    ]
    if len(plan.setups) == 2:
        rows += [_difference(measured, folder, under) for under in (None, *noise)]
    columns = ("", "asked by voice", "caption typed in", "as text", "ratio")
    above = [_above(measured, setup, folder, under) for setup, under in asked]
    return [
        Table(title, columns, rows),
        Table(f"{title}: voice, points", ("", "above the caption typed in", "above text"), above),
    ]


def _row(measured: Measured, setup: Setup, folder: Path, under: str | None) -> Row:
    return (
        _label(setup, under),
        percent(measured, measured.spoken(setup, folder, under)),
        percent(measured, measured.typed(setup, folder, under)),
        percent(measured, measured.read(setup, folder)),
        report.number(measured.ratio(setup, folder, under).interval(measured.seed)),
    )


def _above(measured: Measured, setup: Setup, folder: Path, under: str | None) -> Row:
    spoken = measured.spoken(setup, folder, under)
    return (
        _label(setup, under),
        points(measured, spoken, measured.typed(setup, folder, under)),
        points(measured, spoken, measured.read(setup, folder)),
    )


def _label(setup: Setup, under: str | None) -> str:
    return setup.label + (", 10 dB of noise" if under else "")


def _difference(measured: Measured, folder: Path, under: str | None) -> Row:
    first, second = measured.plan.setups
    ratio = measured.ratio(second, folder, under)
    return (
        f"{second.label} above {first.label}{', 10 dB of noise' if under else ''}, points",
        points(
            measured, measured.spoken(second, folder, under), measured.spoken(first, folder, under)
        ),
        points(
            measured, measured.typed(second, folder, under), measured.typed(first, folder, under)
        ),
        points(measured, measured.read(second, folder), measured.read(first, folder)),
        report.number(
            ratio.above(measured.ratio(first, folder, under), measured.seed), signed=True
        ),
    )


def _paper() -> Table:
    rows: list[Row] = []
    for name, spoken in paper.SPOKEN.items():
        rows.append((name, *(report.NOTHING if one is None else f"{one} %" for one in spoken)))
        if name in paper.READ:
            read = paper.READ[name]
            ratios = [a / b for a, b in zip(spoken, read, strict=True) if a is not None]
            rows.append((f"{name}: its LLM, as text", *(f"{one} %" for one in read)))
            rows.append((f"{name}: ratio", *(f"{ratio:.3f}" for ratio in ratios)))
    return Table("The paper: questions asked by voice", ("", *paper.QUESTION_SETS), rows)


def _plot(measured: Measured, folder: Path) -> Plot:
    setups = [*measured.plan.setups, *measured.plan.brains]
    column = paper.QUESTION_SETS.index("LLaMA Questions")
    theirs = [_bare(accuracies[column]) for accuracies in paper.SPOKEN.values()]
    their_text = [
        _bare(paper.READ[name][column]) if name in paper.READ else _bare(math.nan)
        for name in paper.SPOKEN
    ]
    spoken = [measured.spoken(setup, folder).interval(measured.seed) for setup in setups]
    read = [measured.read(setup, folder).interval(measured.seed) for setup in setups]
    return Plot(
        f"questions-{folder.name}",
        f"Questions answered correctly: {folder.name}, beside the paper's on LLaMA Questions",
        plots.dots(
            {
                "asked by voice": [*spoken, *theirs],
                "as text": [*read, *their_text],
            },
            [*(setup.label for setup in setups), *(f"{name} (paper)" for name in paper.SPOKEN)],
            across="answered correctly, %",
        ),
    )


def _bare(percent: float | None) -> Interval:
    return Interval(math.nan if percent is None else percent / 100, math.nan, math.nan)
