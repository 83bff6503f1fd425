"""Written text as it is said: numbers, years, money, abbreviations and symbols become words.

English only. Every character that comes out knows where in the written text it stands, so that an
interrupted answer can be cut at the last word that was heard.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_omni import numbers

_SPOKEN = frozenset("abcdefghijklmnopqrstuvwxyz'-,.?!;: ")
_LETTERS = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            "ay bee see dee ee eff jee aitch eye jay kay ell em en oh pee cue ar ess tee you vee "
            "double-you ex why zee"
        ).split(),
        strict=True,
    )
)
_ABBREVIATIONS = {
    "dr": "doctor",
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "st": "saint",
    "prof": "professor",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "e.g": "for example",
    "i.e": "that is",
    "a.m": "ay em",
    "p.m": "pee em",
}
_UNITS = {
    "km": "kilometers",
    "cm": "centimeters",
    "mm": "millimeters",
    "kg": "kilograms",
    "mg": "milligrams",
    "ml": "milliliters",
    "mph": "miles per hour",
    "ft": "feet",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
}
_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_SYMBOLS = {
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "%": " percent",
    "°": " degrees ",
    "×": " times ",  # noqa: RUF001 (the sign of multiplication)
    "÷": " divided by ",
    "<": " less than ",
    ">": " greater than ",
    "—": ", ",
    "–": ", ",  # noqa: RUF001 (a dash)
    "…": ", ",
    "(": ", ",
    ")": ", ",
    "\n": ". ",
    "/": " ",
    "_": " ",
    "’": "'",  # noqa: RUF001 (an apostrophe)
}
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = rf"\s?(?:{'|'.join(_UNITS)})\b"
_MOST_DIGITS = len(str(numbers.LARGEST))
_SCALE = r"(?:\s+(?:thousand|million|billion|trillion)\b)?"


@dataclass(frozen=True)
class Reading:
    """What is said.

    Attributes:
        text: lower-case letters, spaces, apostrophes, hyphens and marks of the melody.
        ends: int64 [len(text)]: so many characters of the written text are said with each.
    """

    text: str
    ends: NDArray[np.int64]


def read(text: str) -> Reading:
    """How ``text`` is said. What cannot be said, such as an emoji, is left out."""
    shouted = text.upper() == text and len(re.findall("[A-Z]{2,}", text)) > 2
    said: list[str] = []
    ends: list[int] = []
    for piece, end in _pieces(text, shouted):
        for character in unicodedata.normalize("NFKD", piece).lower():
            if character not in _SPOKEN or not _adds(said, character):
                continue
            said.append(character)
            ends.append(end)
    while said and said[-1] == " ":
        del said[-1], ends[-1]
    if said and not any(character.isalpha() for character in said):
        said, ends = [], []
    return Reading("".join(said), np.array(ends, np.int64))


def _adds(said: list[str], character: str) -> bool:
    """Whether a character is worth saying after these; takes back what it makes idle."""
    before = said[-1] if said else " "
    if character.isalpha():
        return True
    if character in " -'":
        return before not in " -" and before != character
    # A mark stands right behind a word, and only one does: the weightier.
    behind_word = before == " " and len(said) > 1 and said[-2].isalpha()
    if behind_word or (before in ",;:" and character in ".?!"):
        said[-1] = character
    else:
        return before.isalpha()
    return False


def _pieces(text: str, shouted: bool) -> Iterator[tuple[str, int]]:
    """Words to say and where in ``text`` each ends."""
    at = 0
    while at < len(text):
        for pattern, say in _RULES:
            match = pattern.match(text, at)
            if match is None:
                continue
            words = say(match, shouted)
            if words is not None:
                yield words, match.end()
                at = match.end()
                break
        else:
            yield _symbol(text, at), at + 1
            at += 1


def _symbol(text: str, at: int) -> str:
    said = _SYMBOLS.get(text[at], text[at])
    inside = 0 < at < len(text) - 1 and text[at - 1].isalpha() and text[at + 1].isalpha()
    return "" if said == "'" and not inside else said


def _cardinal(number: str) -> str:
    whole, point, decimals = number.partition(".")
    if (len(whole) > 1 and whole.startswith("0") and not point) or len(whole) > _MOST_DIGITS:
        return _digits(whole + decimals)
    words = numbers.cardinal(int(whole))
    return f"{words} point {_digits(decimals)}" if point else words


def _digits(number: str) -> str:
    return " ".join(numbers.cardinal(int(digit)) for digit in number)


def _amount(number: str, unit: str) -> str:
    return f"{_cardinal(number)} {unit if int(number) == 1 else numbers.plural(unit)}"


def _money(match: re.Match[str], shouted: bool) -> str:
    whole, cent = _MONEY[match[1]]
    amount, scale = match[2].replace(",", ""), match[3].strip()
    if scale:
        return f"{_cardinal(amount)} {scale} {whole}s"
    units, _, cents = amount.partition(".")
    words = _amount(units, whole)
    if len(cents) == 2 and int(cents):
        words += f" and {_amount(str(int(cents)), cent)}"
    return words


def _clock(match: re.Match[str], shouted: bool) -> str:
    hour, minute = match[1], int(match[2])
    if minute == 0:
        return f"{_cardinal(str(int(hour)))} o'clock"
    return f"{_cardinal(str(int(hour)))} {'oh ' if minute < 10 else ''}{_cardinal(str(minute))}"


def _decade(match: re.Match[str], shouted: bool) -> str:
    return numbers.plural(numbers.year(int(match[1])))


def _ordinal(match: re.Match[str], shouted: bool) -> str:
    number = match[1].replace(",", "")
    if len(number) > _MOST_DIGITS:
        return f"{_digits(number)}th"
    return numbers.ordinal(int(number))


def _range(match: re.Match[str], shouted: bool) -> str:
    both = (numbers.year(int(n)) if len(n) == 4 else _cardinal(n) for n in (match[1], match[2]))
    return f" {' to '.join(both)}{_unit(match[3])} "


def _number(match: re.Match[str], shouted: bool) -> str:
    sign, number, unit = match[1], match[2].replace(",", ""), match[3]
    year = not sign and not unit and re.fullmatch(r"(1[1-9]|20)\d\d", match[2])
    words = numbers.year(int(number)) if year else _cardinal(number)
    return f" {'minus ' if sign else ''}{words}{_unit(unit)} "


def _unit(unit: str | None) -> str:
    return f" {_UNITS[unit.strip()]}" if unit else ""


def _degrees(match: re.Match[str], shouted: bool) -> str:
    return f" degrees {'celsius' if match[1] == 'C' else 'fahrenheit'}"


def _abbreviation(match: re.Match[str], shouted: bool) -> str:
    return _ABBREVIATIONS[(match[1] or match[2]).lower()]


def _spelled(match: re.Match[str], shouted: bool) -> str | None:
    """Letters one by one: initials, and capitals that make no word."""
    letters = match[0].replace(".", "")
    if shouted or letters in {"A", "I", "O", "OK"}:
        return "okay" if letters == "OK" else None
    if len(letters) > 3 and re.search("[AEIOUY]", letters):
        return None
    return " ".join(_LETTERS[letter] for letter in letters)


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], bool], str | None]], ...] = tuple(
    (re.compile(pattern), say)
    for pattern, say in (
        (rf"([$£€])\s?({_NUMBER})({_SCALE})", _money),
        (r"(?<![\d.])(\d{1,2}):([0-5]\d)(?!\d)", _clock),
        (r"(?<!\d)((?:1[1-9]|20)\d0)s\b", _decade),
        (r"(?<!\d)(\d[\d,]*)(?:st|nd|rd|th)\b", _ordinal),
        (rf"(?<![\d.])(\d+)\s?[-–]\s?(\d+)(?![\d.,]\d)({_UNIT})?", _range),  # noqa: RUF001
        (rf"((?<![\w)])[-−])?({_NUMBER})({_UNIT})?", _number),  # noqa: RUF001
        (r"°\s?([CF])\b", _degrees),
        (r"\b(e\.g|i\.e|a\.m|p\.m)\b\.?", _abbreviation),
        (r"\b(Dr|Mr|Mrs|Ms|Prof)\b\.?|\b(?:(?<=\s)|^)(St)\.(?=\s[A-Z])", _abbreviation),
        (r"\b(vs|approx)\b\.?|\b(etc)\b(?:\.(?=\s+[a-z,]))?", _abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", _spelled),
        (r"(?<![A-Za-z'])[A-Z]{1,5}(?![A-Za-z'])", _spelled),
        (r"[A-Za-z]+", lambda match, shouted: match[0]),
    )
)
