"""Written text as it is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_omni.reading import read


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Paris.", "paris."),
        ("In 1984, or 2005?", "in nineteen eighty-four, or two thousand and five?"),
        ("the 1990s", "the nineteen nineties"),
        ("12,500 people", "twelve thousand five hundred people"),
        ("3.14", "three point one four"),
        ("It's -5°C!", "it's minus five degrees celsius!"),
        ("$3.50", "three dollars and fifty cents"),
        ("€3 million", "three million euros"),
        ("$1", "one dollar"),
        ("the 21st", "the twenty-first"),
        ("10:30 p.m.", "ten thirty pee em"),
        ("at 9:00", "at nine o'clock"),
        ("10-20 km", "ten to twenty kilometers"),
        ("50% off & more", "fifty percent off and more"),
        ("Dr. Smith", "doctor smith"),
        ("St. Louis", "saint louis"),
        ("e.g. this", "for example this"),
        ("the U.S. and the FBI", "the you ess and the eff bee eye"),
        ("NASA", "nasa"),
        ("H2O", "aitch two oh"),
        ("On July 4, 1776", "on july fourth, seventeen seventy-six"),
        ("the 3rd of May", "the third of may"),
        ("Mar. 5, 2021", "march fifth, twenty twenty-one"),
        ("May 5,000 come", "may five thousand come"),
        ("2024-05-06", "may sixth, twenty twenty-four"),
        ("the '90s", "the nineties"),
        ("2 3/4 miles, 24/7", "two and three quarters miles, twenty-four seven"),
        ("555-1234", "five five five, one two three four"),
        ("60 km/h", "sixty kilometers per hour"),
        ("Henry VIII", "henry the eighth"),
        ("World War II, Part IV", "world war two, part four"),
        ("Malcolm X", "malcolm ex"),
        ("www.example.com.", "double-you double-you double-you dot example dot com."),
        ("No. 5 and #1. No.", "number five and number one. no."),
        ("on 5th St. near Mt. Fuji", "on fifth street near mount fuji"),
        ("x² + 10^3", "x squared plus ten to the power of three"),
        ("I don’t know", "i don't know"),  # noqa: RUF001
        ("café", "cafe"),
        ("**bold** _text_", "bold text"),
        ("yes (maybe) no", "yes, maybe, no"),
        ("a — b", "a, b"),
        ("First\nSecond", "first. second"),
        ("Wait... what?!", "wait. what?"),
        ("'quoted'", "quoted"),
        ("007", "zero zero seven"),
    ],
)
def test_it_reads(written: str, said: str) -> None:
    assert read(written).text == said


@given(st.text(max_size=60))
def test_any_text_can_be_read_and_its_places_stay_in_order(text: str) -> None:
    reading = read(text)
    assert len(reading.ends) == len(reading.text)
    assert (np.diff(reading.ends) >= 0).all()
    assert reading.text == "" or 0 < reading.ends[0] <= reading.ends[-1] <= len(text)
    assert set(reading.text) <= set("abcdefghijklmnopqrstuvwxyz'-,.?!;: ")


def test_every_character_knows_where_it_stands() -> None:
    reading = read("I have 12 cats")
    assert [reading.text[:n] for n in (2, 7)] == ["i ", "i have "]
    assert reading.ends[reading.text.index("twelve")] == len("I have 12")
    assert reading.ends[-1] == len("I have 12 cats")
