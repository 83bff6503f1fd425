"""Whole numbers and years as they are said in English.

`inflect` says the same (checked against it), but takes 1.8 s to import: more than all else that
starting up takes.
"""

from __future__ import annotations

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
    (1000, "thousand"),
    (100, "hundred"),
)
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LARGEST = 10**15 - 1
"""The largest number that has words here."""


def cardinal(value: int) -> str:
    """``value``, from 0 to :data:`LARGEST`, in words."""
    if value < 20:
        return _SMALL[value]
    if value < 100:
        ones = f"-{_SMALL[value % 10]}" if value % 10 else ""
        return _TENS[value // 10 - 2] + ones
    size, name = next(scale for scale in _SCALES if value >= scale[0])
    count, rest = divmod(value, size)
    tail = f" {'and ' if rest < 100 else ''}{cardinal(rest)}" if rest else ""
    return f"{cardinal(count)} {name}{tail}"


def ordinal(value: int) -> str:
    """The place of number ``value`` in a row: first, second, …"""
    words = cardinal(value)
    start = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[start:]
    if last.endswith("y"):
        return f"{words[:-1]}ieth"
    return words[:start] + _ORDINALS.get(last, f"{last}th")


def year(value: int) -> str:
    """A year of four digits as it is said."""
    high, low = divmod(value, 100)
    if value % 1000 < 10:
        return cardinal(value)
    if low == 0:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {'oh ' if low < 10 else ''}{cardinal(low)}"


def plural(words: str) -> str:
    """More than one of what the last word names, where it forms its plural by rule."""
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"
