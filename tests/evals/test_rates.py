"""Rates are of all items together, and their intervals come from drawing the items anew."""

import math

import pytest

from evals.rates import Rate


def test_a_rate_is_of_all_parts_over_all_wholes() -> None:
    assert Rate.of([(1, 2), (0, 8)]).value == 0.1
    assert Rate.of([(1, 2), (0, 8), (0, 0)]).each == [0.5, 0]


def test_intervals_hold_the_value_and_shrink_with_the_number_of_items() -> None:
    few = Rate.of([(1, 1), (0, 1)] * 10).interval()
    many = Rate.of([(1, 1), (0, 1)] * 200).interval()
    assert few.low < many.low < many.value == 0.5 < many.high < few.high


def test_the_same_seed_gives_the_same_interval() -> None:
    rate = Rate.of([(1, 3), (0, 1), (2, 2)] * 5)
    assert rate.interval(1) == rate.interval(1) != rate.interval(2)


def test_a_difference_is_drawn_in_pairs() -> None:
    """What is hard for both does not count as chance."""
    hard_and_easy = [(10, 10), (0, 10)] * 20
    worse = [(errors + (errors < 10), words) for errors, words in hard_and_easy]
    difference = Rate.of(worse).above(Rate.of(hard_and_easy))
    assert difference.value == pytest.approx(0.05)
    assert difference.high - difference.low < 0.05


def test_nothing_measured_is_no_number() -> None:
    assert math.isnan(Rate().value)
    assert math.isnan(Rate().interval().low)
    assert math.isnan(Rate().above(Rate.of([(1, 2)])).value)
