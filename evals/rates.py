"""Rates with their intervals: how many of how many, and what drawing the items anew would give."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % bootstrap interval; all of them NaN where nothing was measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """A sum over another, item by item: errors of words, right answers of questions.

    Attributes:
        parts, wholes: of each item, in the order in which items were measured, so that two rates
            over the same items pair up. Empty where nothing was measured.
    """

    parts: tuple[float, ...] = ()
    wholes: tuple[float, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Rate:
        """From a part and a whole for each item."""
        items = list(pairs)
        return cls(tuple(part for part, _ in items), tuple(whole for _, whole in items))

    @property
    def value(self) -> float:
        """All parts over all wholes, not the mean of the items' rates."""
        return sum(self.parts) / sum(self.wholes) if sum(self.wholes) else math.nan

    @property
    def each(self) -> list[float]:
        """The rate of each item that has one."""
        pairs = zip(self.parts, self.wholes, strict=True)
        return [part / whole for part, whole in pairs if whole]

    def interval(self, seed: int = 0) -> Interval:
        """The value and what drawing the items anew gives."""
        return Interval(self.value, *_middle(self._drawn(seed)))

    def above(self, other: Rate, seed: int = 0) -> Interval:
        """How much higher than ``other``, both over the same items, drawn together."""
        if len(self.parts) != len(other.parts):
            return Interval(math.nan, math.nan, math.nan)
        difference = self._drawn(seed) - other._drawn(seed)
        return Interval(self.value - other.value, *_middle(difference))

    def _drawn(self, seed: int) -> NDArray[np.float64]:
        if not self.parts:
            return np.full(1, np.nan)
        drawn = _draws(len(self.parts), seed)
        parts, wholes = np.array(self.parts, float)[drawn], np.array(self.wholes, float)[drawn]
        sums = wholes.sum(1)
        return np.where(sums > 0, parts.sum(1) / np.where(sums > 0, sums, 1), np.nan)


@lru_cache(maxsize=4)
def _draws(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(DRAWS, count))


def _middle(drawn: NDArray[np.float64]) -> tuple[float, float]:
    held = drawn[~np.isnan(drawn)]
    if not len(held):
        return math.nan, math.nan
    return float(np.quantile(held, 0.025)), float(np.quantile(held, 0.975))
