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

from edge_omni import numbers, wording

_SPOKEN = frozenset("abcdefghijklmnopqrstuvwxyz'-,.?!;: ")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = rf"\s?(?:{'|'.join(wording.UNITS)})\b"
_MOST_DIGITS = len(str(numbers.LARGEST))
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}
_SHORT = "|".join(wording.SHORT)
_MONTH = rf"(?:{'|'.join(wording.MONTHS)}|(?:{_SHORT})\b\.?)"
_YEAR = r"(?:1[1-9]|20)\d\d"
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
    said = wording.SYMBOLS.get(text[at], text[at])
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
    whole, cent = wording.MONEY[match[1]]
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


def _short_decade(match: re.Match[str], shouted: bool) -> str:
    return numbers.plural(_cardinal(match[1]))


def _date(match: re.Match[str], shouted: bool) -> str:
    """A date in digits: year first, or in the American order."""
    first, second, third = (int(part) for part in match.groups())
    year, month, day = (first, second, third) if len(match[1]) == 4 else (third, first, second)
    return f"{wording.MONTHS[month - 1]} {numbers.ordinal(day)}, {numbers.year(year)}"


def _month(name: str) -> str:
    return wording.SHORT.get(name.rstrip("."), name)


def _month_day(match: re.Match[str], shouted: bool) -> str | None:
    return (
        f"{_month(match[1])} {numbers.ordinal(int(match[2]))}" if 0 < int(match[2]) < 32 else None
    )


def _day_month(match: re.Match[str], shouted: bool) -> str | None:
    if not 0 < int(match[1]) < 32:
        return None
    the = "" if match.string[: match.start()].endswith("the ") else "the "
    return f"{the}{numbers.ordinal(int(match[1]))} of {match[2]}"


def _fraction(match: re.Match[str], shouted: bool) -> str | None:
    count, parts = int(match[1]), int(match[2])
    if not 0 < count < parts or parts > 20:
        return None
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    one, many = names.get(parts, (numbers.ordinal(parts), numbers.plural(numbers.ordinal(parts))))
    mixed = re.search(r"\d $", match.string[: match.start()])
    return f"{'and ' if mixed else ''}{_cardinal(match[1])} {one if count == 1 else many}"


def _telephone(match: re.Match[str], shouted: bool) -> str:
    return ", ".join(_digits(group) for group in match.groups() if group)


def _roman(match: re.Match[str], shouted: bool) -> str | None:
    if shouted:
        return None
    values = [_ROMAN[letter] for letter in match[2]]
    pairs = zip(values, [*values[1:], 0], strict=True)
    number = sum(-value if value < after else value for value, after in pairs)
    counts = match[1] in wording.NUMBERED
    return f"{match[1]} {numbers.cardinal(number) if counts else f'the {numbers.ordinal(number)}'}"


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
    return f" {wording.UNITS[unit.strip()]}" if unit else ""


def _degrees(match: re.Match[str], shouted: bool) -> str:
    return f" degrees {'celsius' if match[1] == 'C' else 'fahrenheit'}"


def _abbreviation(match: re.Match[str], shouted: bool) -> str:
    return wording.ABBREVIATIONS[(match[1] or match[2]).lower()]


def _spelled(match: re.Match[str], shouted: bool) -> str | None:
    """Letters one by one: initials, and capitals that make no word."""
    letters = match[0].replace(".", "")
    formula = match.string[match.start() - 1 : match.start()].isdigit()
    if shouted or (letters in {"A", "I", "O", "OK"} and not formula):
        return "okay" if letters == "OK" else None
    if len(letters) > 3 and re.search("[AEIOUY]", letters):
        return None
    return " ".join(wording.LETTERS[letter] for letter in letters)


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], bool], str | None]], ...] = tuple(
    (re.compile(pattern), say)
    for pattern, say in (
        (rf"([$£€])\s?({_NUMBER})({_SCALE})", _money),
        (r"(?<![\d.])(\d{1,2}):([0-5]\d)(?!\d)", _clock),
        (rf"(?<!\d)({_YEAR})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)", _date),
        (rf"(?<![\d/])(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/({_YEAR})(?!\d)", _date),
        (rf"\b({_MONTH})\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?!,?\d|\s?%)", _month_day),
        (
            rf"(?<![\d,.])(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({'|'.join(wording.MONTHS)})\b",
            _day_month,
        ),
        (rf"\b({_SHORT})\.(?=\s)", lambda match, shouted: _month(match[1])),
        (r"(?<!\d)((?:1[1-9]|20)\d0)s\b", _decade),
        (r"(?<!\w)['’]([2-9]0)s\b", _short_decade),  # noqa: RUF001 (an apostrophe)
        (r"(?<![\d/.])(\d{1,2})/(\d{1,2})(?![\d/])", _fraction),
        (r"(?<![\d-])(?:(\d{3})-)?(\d{3})-(\d{4})(?![\d-])", _telephone),
        (r"(?:#|\bNo\.\s?)(?=\d)", lambda match, shouted: "number "),
        (r"(?<!\d)(\d[\d,]*)(?:st|nd|rd|th)\b", _ordinal),
        (rf"(?<![\d.])(\d+)\s?[-–]\s?(\d+)(?![\d.,]\d)({_UNIT})?", _range),  # noqa: RUF001
        (rf"((?<![\w)])[-−])?({_NUMBER})({_UNIT})?", _number),  # noqa: RUF001
        (r"°\s?([CF])\b", _degrees),
        (r"\b(e\.g|i\.e|a\.m|p\.m)\b\.?", _abbreviation),
        (rf"\b({'|'.join(wording.NUMBERED)}) ([IVXL]+)\b", _roman),
        (r"\b([A-Z][a-z]+) (II|III|IV|VI{1,3}|IX|X{1,2}(?:IX|IV|V?I{1,3}|V|X)?(?<!\bX))\b", _roman),
        (r"\bwww(?=\.)", lambda match, shouted: "double-you double-you double-you"),
        (
            r"(?<=\w)\.(?=(?:com|org|net|edu|gov|io|\w+\.(?:com|org|net|edu|gov))\b)",
            lambda match, shouted: " dot ",
        ),
        (r"\bC#", lambda match, shouted: "see sharp"),
        (r"\b(Gen|Capt|Lt|Sgt|Rev|Gov|Sen|Mt)\.(?=\s[A-Z])|\b(Jr|Sr|Inc|Ltd|Ave)\.", _abbreviation),
        (r"(?<=[a-z]\s)St\.", lambda match, shouted: "street"),
        (r"\b(Dr|Mr|Mrs|Ms|Prof)\b\.?|\b(?:(?<=\s)|^)(St)\.(?=\s[A-Z])", _abbreviation),
        (r"\b(vs|approx)\b\.?|\b(etc)\b(?:\.(?=\s+[a-z,]))?", _abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", _spelled),
        (r"(?<![A-Za-z'])[A-Z]{1,5}(?![A-Za-z'])", _spelled),
        (r"[A-Za-z]+", lambda match, shouted: match[0]),
    )
)
