"""The section on turn-taking: what came of scenes, and what other thresholds would do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from edge_omni.bundle import CURVES
from evals import duplex, plots, report
from evals.measured import Measured
from evals.page import Plot, Row, Section, Table
from evals.rates import Interval, Rate
from evals.scenes import kinds
from evals.setup import Setup
from evals.tables import cells, headings

TOLD = {
    "taken_over": "pauses taken over",
    "answered_in_0.4": "turns answered within 0.4 s",
    "answered_in_0.7": "within 0.7 s",
    "answered_in_1.0": "within 1.0 s",
    "stops": "interruptions that stop it",
    "stops_in_0.3": "within 0.3 s",
    "stops_for_backchannels": "backchannels that stop it",
    "stops_for_others": "talk to others that stops it",
    "stops_for_noise": "background, noise and echo that stop it",
    "overheard": "interruptions overheard",
    "resumed_after_others": "talk to others after which it goes on",
    "resumed_after_backchannels": "backchannels after which it goes on",
}
"""What the columns of the curves mean."""


def section(measured: Measured) -> Section:
    """Rates and times of every kind of scene, and the curves in the bundle."""
    found = [(setup, curves) for setup in measured.plan.setups for curves in _curves(setup)]
    return Section(
        "Turn-taking",
        "Scenes of voices and sentences that no training has heard, through the whole loop, with "
        "the speaker as loud in the microphone as the user. Time is what one thread takes to "
        "compute and what passes without computing: times, unlike everything else here, depend on "
        "the machine and on what else it does.",
        [
            _rates(measured),
            _times(measured),
            *(_table(measured, setup, *curve) for setup, curve in found),
        ],
        [_plot(measured, setup, *curve) for setup, curve in found],
    )


def _rates(measured: Measured) -> Table:
    rows = [
        (duplex.TITLES[kind], *cells(measured, lambda s, k=kind: _right(measured, s, k), 0))
        for kind in kinds(measured.plan.sets)
    ]
    return Table("Scenes that went as they should", ("", *headings(measured)), rows)


def _right(measured: Measured, setup: Setup, kind: str) -> Rate:
    return duplex.right(measured.scenes(setup, kind))


def _times(measured: Measured) -> Table:
    rows: list[Row] = []
    for kind, name, what in (
        ("turn", "first", "end of the turn to first sound"),
        ("interruption", "stop", "first word of the interruption to silence"),
        ("interruption", "first", "end of the interruption to first sound"),
    ):
        for q in (50, 90):
            items = [measured.scenes(setup, kind) for setup in measured.plan.setups]
            times = [report.number(duplex.quantile(i, name, q), 0, 1000, " ms") for i in items]
            rows.append((f"{what}, p{q}", *times))
    return Table("", ("", *(setup.label for setup in measured.plan.setups)), rows)


Curve = Sequence[dict[str, float]]


def _curves(setup: Setup) -> Iterator[tuple[str, Curve]]:
    """The curves of a bundle by the threshold that each is of."""
    path = setup.bundle / CURVES
    if path.is_file():
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        yield from told["curves"].items()


def _table(measured: Measured, setup: Setup, threshold: str, curve: Curve) -> Table:
    names = [name for name in curve[0] if name in TOLD]
    rows = [
        (f"{row[threshold]:.2f}", *(report.percent(row[name], 0) for name in names))
        for row in curve
    ]
    chosen = getattr(setup.manifest.dialogue, threshold)
    return Table(
        f"{setup.label}: what each threshold of `{threshold}` does",
        (threshold, *(TOLD[name] for name in names)),
        rows,
        f"Of scenes kept aside in training, which are harder than those above. Chosen: {chosen}.",
    )


def _plot(measured: Measured, setup: Setup, threshold: str, curve: Curve) -> Plot:
    names = [name for name in curve[0] if name in TOLD]
    series = {
        TOLD[name]: [Interval(row[name], math.nan, math.nan) for row in curve] for name in names
    }
    ticks = [f"{row[threshold]:.2f}" for row in curve]
    return Plot(
        f"threshold-{threshold}-{setup.label}",
        f"{setup.label}: what each threshold of `{threshold}` does",
        plots.lines(series, ticks, across=f"threshold of `{threshold}`", up="scenes, %"),
    )
