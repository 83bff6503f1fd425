"""Cutting an answer into chunks for the speech decoder while the LLM is still writing it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_omni.bundle import Speech
from edge_omni.conversation import Token

_SENTENCE_END = tuple(".!?;:\n…。！？")  # noqa: RUF001 (full-width marks end sentences too)
_PAUSE = (*_SENTENCE_END, ",", "—")


@dataclass(frozen=True)
class TextChunk:
    """A piece of the answer that is spoken as one.

    Attributes:
        text: its characters.
        start: where it begins in the answer, in characters.
        hidden: the LLM's hidden states at its tokens, float32 [tokens, width].
        last: the answer ends with it.
    """

    text: str
    start: int
    hidden: NDArray[np.float32]
    last: bool


class TextChunker:
    """Collects tokens until a chunk is whole, as Freeze-Omni does: at punctuation once enough
    tokens are there, at commas too for the first chunk, so that the voice begins early.

    A mark counts only once the next token shows that it ended a word, so that "3.14" and
    "e.g." stay whole where the LLM writes them without a space.
    """

    def __init__(self, settings: Speech) -> None:
        self._settings = settings
        self._tokens: list[Token] = []
        self._start = 0

    def push(self, token: Token) -> TextChunk | None:
        """Take the next token; the chunk before it, if that is whole now."""
        chunk = self._take(last=False) if self._whole(token.text) else None
        self._tokens.append(token)
        return chunk

    def finish(self) -> TextChunk | None:
        """What is left, if anything."""
        return self._take(last=True)

    def _take(self, last: bool) -> TextChunk | None:
        if not self._tokens:
            return None
        text = "".join(token.text for token in self._tokens)
        hidden = np.stack([token.hidden for token in self._tokens])
        chunk = TextChunk(text, self._start, hidden, last)
        self._start += len(text)
        self._tokens = []
        return chunk

    def _whole(self, following: str) -> bool:
        if len(self._tokens) < self._settings.least_tokens or not following[:1].isspace():
            return False
        first = self._start == 0
        most = self._settings.first_most_tokens if first else self._settings.most_tokens
        if len(self._tokens) >= most:
            return True
        text = "".join(token.text for token in self._tokens[-2:]).rstrip("\"')*” ")
        return text.endswith(_PAUSE if first else _SENTENCE_END)
