"""Two kinds of drawing, as SVG that takes its ink from the page around it: lines and rows of dots.

All values are shares and drawn in percent; whiskers are the 95 % intervals.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.rates import Interval

# Readable on white and on near black.
COLOURS = (
    "#2f7ed8", "#e07b26", "#35a06d", "#a867c9", "#8b929c", "#c9a227", "#d1495b", "#2aa5a0"
)  # fmt: skip
INK = "#010203"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-omni",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
WIDTH = 7.2  # inches


def lines(
    series: Mapping[str, Sequence[Interval]],
    ticks: Sequence[str],
    *,
    across: str,
    up: str,
    level: Mapping[str, float] | None = None,
) -> str:
    """A line for each series over ``ticks``; NaN is left out. A ``level`` is a line of its own."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        colours = itertools.cycle(COLOURS)
        for i, (label, values) in enumerate(series.items()):
            shift = 0.04 * (i - (len(series) - 1) / 2)
            places = [place + shift for place in range(len(ticks))]
            axes.errorbar(
                places, _percent(values), _whiskers(values), label=label, color=next(colours),
                marker="o", markersize=4.5, linewidth=1.6, elinewidth=0.9, capsize=2,
            )  # fmt: skip
        for label, value in (level or {}).items():
            axes.axhline(100 * value, label=label, color=next(colours), linestyle="--", lw=1.2)
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        return _svg(figure, axes)


def dots(series: Mapping[str, Sequence[Interval]], rows: Sequence[str], *, across: str) -> str:
    """A row for each of ``rows``, in it a dot for each series; NaN is left out."""
    with mpl.rc_context(STYLE):
        height = 0.8 + len(rows) * max(0.3, 0.17 * len(series))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        step, colours = 0.6 / max(1, len(series)), itertools.cycle(COLOURS)
        for i, (label, values) in enumerate(series.items()):
            places = [row + step * (i - (len(series) - 1) / 2) for row in range(len(rows))]
            axes.errorbar(
                _percent(values), places, xerr=_whiskers(values), label=label, color=next(colours),
                marker="o", markersize=5, linestyle="none", elinewidth=1.1, capsize=2,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(across)
        axes.grid(axis="x")
        return _svg(figure, axes)


def _percent(values: Iterable[Interval]) -> list[float]:
    return [100 * value.value for value in values]


def _whiskers(values: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their values; nowhere where there is none."""
    below = [100 * (value.value - value.low) for value in values]
    above = [100 * (value.high - value.value) for value in values]
    return [[0.0 if math.isnan(x) else max(0.0, x) for x in side] for side in (below, above)]


def _svg(figure: Figure, axes: Axes) -> str:
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) > 1:
        figure.legend(loc="outside upper left", ncols=3 if max(map(len, labels)) < 28 else 2)
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :].replace(INK, "currentColor")
