"""Comparing words: one normaliser and one error rate for every evaluation.

The normaliser is the one that Whisper's word error rates are quoted with (lower case, no
punctuation, contractions spelled out, "twenty-four" and "24" alike), from `whisper-normalizer`.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

# What it leaves apart although it sounds the same.
ALIKE = {"oz": "ounce", "fourty": "forty"}


@cache
def _normaliser() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


@cache
def normalise(text: str) -> str:
    """Text as words to compare."""
    for spelling, usual in ALIKE.items():
        text = re.sub(rf"\b{spelling}\b", usual, text, flags=re.IGNORECASE)
    return str(_normaliser()(text)).strip()


def contains(text: str, answers: str) -> bool:
    """Whether `text` holds one of the `answers` (parted by |) as whole words, plural allowed.

    Whole words, because answers such as the symbol "C" are part of nearly any text.
    """
    words = normalise(text)
    return any(
        re.search(rf"(?<!\w){re.escape(answer)}(?:s|es)?(?!\w)", words) is not None
        for answer in map(normalise, answers.split("|"))
        if answer
    )


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Errors in the words of one text, and how many words the reference has."""
    return _errors(jiwer.process_words, reference, hypothesis)


def character_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """The same for characters."""
    return _errors(jiwer.process_characters, reference, hypothesis)


def _errors(compare: Callable[..., Any], reference: str, hypothesis: str) -> tuple[int, int]:
    wanted = normalise(reference)
    if not wanted:
        return 0, 0
    found = compare(wanted, normalise(hypothesis))
    missed = found.substitutions + found.deletions
    return missed + found.insertions, missed + found.hits


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Errors over words of the reference, all texts together (not the mean of their rates)."""
    pairs = _pairs(references, hypotheses)
    return float(jiwer.wer(*pairs)) if pairs[0] else 0.0


def character_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """The same for characters."""
    pairs = _pairs(references, hypotheses)
    return float(jiwer.cer(*pairs)) if pairs[0] else 0.0


def _pairs(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[str], list[str]]:
    pairs = [
        (words, normalise(hypothesis))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
        if (words := normalise(reference))
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
