"""What the adapter's tokens stand for, as text and as embeddings of an LLM.

The table from tokens to embeddings comes from the LLM's own file: each token's string is spelled
with the LLM's tokens. So any LLM can be heard through, without training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_omni.errors import BundleError


class Embedder(Protocol):
    """The part of an LLM that turns text into embeddings.

    Attributes:
        width: size of one embedding.
    """

    width: int

    def tokenize(self, text: bytes) -> list[int]:
        """The LLM's tokens of a text."""

    def embedding_rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings [n, width] of the LLM's tokens."""


class Spelling:
    """The adapter's vocabulary.

    Args:
        path: JSON with ``tokens`` (strings, one character for each byte), ``prompt`` (ids that
            open a segment) and ``end`` (the id that closes it).
        embedder: the LLM.

    Raises:
        BundleError: the file cannot be read.
    """

    def __init__(self, path: Path, embedder: Embedder) -> None:
        try:
            content = json.loads(path.read_text("utf-8"))
            self._texts: list[bytes] = [token.encode("latin-1") for token in content["tokens"]]
            self.prompt = [int(token) for token in content["prompt"]]
            self.end = int(content["end"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path} is no vocabulary of an adapter ({error}).") from error
        self.width = embedder.width
        self._embedder = embedder
        self._rows: dict[tuple[int, bool], NDArray[np.float32]] = {}

    def text(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell."""
        return b"".join(self._texts[token] for token in tokens).decode("utf-8", "replace")

    def punctuation(self, token: int) -> bool:
        """Whether a token has neither letters nor digits."""
        return not any(character.isalnum() for character in self.text([token]))

    def row(self, token: int, first: bool = False) -> NDArray[np.float32]:
        """The LLM's embedding of one token: [width].

        The mean where the LLM needs several tokens for it (under 1 % of them).

        Args:
            first: the token opens a turn, where the LLM expects no space.
        """
        key = (token, first)
        if key not in self._rows:
            text = self._texts[token]
            ids = self._embedder.tokenize(text.lstrip() if first else text)
            # A lone space at the start of a turn spells nothing.
            rows = self._embedder.embedding_rows(ids or self._embedder.tokenize(text))
            self._rows[key] = rows.mean(axis=0)
        return self._rows[key]

    def expectation(
        self, tokens: NDArray[np.int64], weights: NDArray[np.float32], first: bool = False
    ) -> NDArray[np.float32]:
        """The mean embedding [width] of tokens [k] under their probabilities [k].

        Tokens that spell nothing, such as the end, have no part in it.
        """
        pairs = [
            (float(weight), self.row(int(token), first))
            for token, weight in zip(tokens, weights, strict=True)
            if weight >= _LEAST * weights.max() and self._texts[token]
        ]
        total = sum(weight for weight, _ in pairs)
        mean = sum((weight / total * row for weight, row in pairs), np.float32(0))
        return np.asarray(mean, dtype=np.float32)


# Alternatives less likely than this share of the best would cost a look-up and change nothing.
_LEAST = 0.02
