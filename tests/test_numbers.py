"""Numbers as they are said."""

from __future__ import annotations

import pytest

from edge_omni.numbers import LARGEST, cardinal, ordinal, plural, year


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"),
        (21, "twenty-one"),
        (101, "one hundred and one"),
        (1005, "one thousand and five"),
        (12_345, "twelve thousand three hundred and forty-five"),
        (1_000_001, "one million and one"),
    ],
)
def test_cardinals(value: int, words: str) -> None:
    assert cardinal(value) == words


def test_every_number_up_to_the_largest_has_words() -> None:
    assert cardinal(LARGEST).startswith("nine hundred and ninety-nine trillion")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "first"),
        (12, "twelfth"),
        (20, "twentieth"),
        (21, "twenty-first"),
        (100, "one hundredth"),
        (1005, "one thousand and fifth"),
    ],
)
def test_ordinals(value: int, words: str) -> None:
    assert ordinal(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1066, "ten sixty-six"),
        (1905, "nineteen oh five"),
        (1900, "nineteen hundred"),
        (2004, "two thousand and four"),
    ],
)
def test_years(value: int, words: str) -> None:
    assert year(value) == words


def test_decades() -> None:
    assert plural(year(1960)) == "nineteen sixties"
