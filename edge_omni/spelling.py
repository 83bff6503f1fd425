"""What the adapter's tokens stand for, as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edge_omni.errors import BundleError


class Spelling:
    """The adapter's vocabulary.

    Args:
        path: JSON with ``tokens`` (strings, one character for each byte), ``prompt`` (ids that
            open a segment) and ``end`` (the id that closes it).

    Raises:
        BundleError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text("utf-8"))
            self._texts: list[bytes] = [token.encode("latin-1") for token in content["tokens"]]
            self.prompt = [int(token) for token in content["prompt"]]
            self.end = int(content["end"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path} is no vocabulary of an adapter ({error}).") from error

    def text(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell. Of a character that they only begin, nothing."""
        return b"".join(self._texts[token] for token in tokens).decode("utf-8", "ignore")

    def punctuation(self, token: int) -> bool:
        """Whether a token has neither letters nor digits."""
        return not any(character.isalnum() for character in self.text([token]))
