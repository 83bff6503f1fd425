"""Text to phonemes by espeak-ng, the teacher of pronunciation (training only).

The voice reads code points ("phonemes" below); the pre-network learns *units*: a vowel with its
stress and length, a diphthong or an affricate counts as one, so that two slots for each character
are enough for nearly every word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from piper.phonemize_espeak import EspeakPhonemizer

PAD, START, END = 0, 1, 2
"""The voice's ids around and between phonemes."""
_UNIT = re.compile("[ˈˌ]*(?:tʃ|dʒ|oʊ|aʊ|[aeɔ]ɪ|[^ˈˌ])[ːʲ̩̃]*")  # noqa: RUF001 (IPA)


class Phonemizer:
    """espeak-ng's American English.

    Args:
        ids: the voice's ``phoneme_id_map``.
    """

    def __init__(self, ids: dict[str, list[int]]) -> None:
        self._espeak = EspeakPhonemizer()
        self._ids = {symbol: values[0] for symbol, values in ids.items()}
        self._symbols = {value: symbol for symbol, value in self._ids.items()}

    def ids(self, text: str) -> list[int] | None:
        """The voice's phoneme ids of one sentence, None if espeak finds more than one in it or
        a phoneme that the voice lacks. Read in lower case, as the pre-network does."""
        sentences = self._espeak.phonemize("en-us", text.lower())
        if len(sentences) != 1 or any(symbol not in self._ids for symbol in sentences[0]):
            return None
        return [self._ids[symbol] for symbol in sentences[0]]

    def units(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """The units of phoneme ids, each with how many ids it has."""
        text = "".join(self._symbols[i] for i in ids)
        return [(match[0], len(match[0])) for match in _UNIT.finditer(text)]


def voice_input(ids: Sequence[int]) -> list[int]:
    """Phoneme ids with the marks that the voice expects around and between them."""
    padded = [START, PAD]
    for i in ids:
        padded += [i, PAD]
    return [*padded, END]
