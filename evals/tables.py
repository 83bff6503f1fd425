"""Rows that set one or two bundles beside each other."""

from __future__ import annotations

from collections.abc import Callable

from evals import report
from evals.measured import Measured
from evals.page import Row
from evals.rates import Rate
from evals.setup import Setup

WHISPER = "Whisper base"
TEACHER = "the teacher's voice"


def headings(measured: Measured) -> Row:
    """The bundles, and their difference if there are two."""
    names = [setup.label for setup in measured.plan.setups]
    return (*names, f"{names[1]} above {names[0]}, points") if len(names) == 2 else (names[0],)


def cells(measured: Measured, rate: Callable[[Setup], Rate], digits: int = 1) -> Row:
    """A rate of each bundle in percent, and their difference in points if there are two."""
    rates = [rate(setup) for setup in measured.plan.setups]
    row = [percent(measured, each, digits) for each in rates]
    if len(rates) == 2:
        row.append(points(measured, rates[1], rates[0], digits))
    return tuple(row)


def percent(measured: Measured, rate: Rate, digits: int = 1) -> str:
    """A rate in percent with its interval."""
    return report.percent(rate.interval(measured.seed), digits)


def points(measured: Measured, rate: Rate, other: Rate, digits: int = 1) -> str:
    """How many points of percent a rate is above another over the same items."""
    return report.number(rate.above(other, measured.seed), digits, 100, signed=True)
