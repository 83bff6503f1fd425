"""Freeze-Omni's own speech decoder: it reads the LLM's tokens and writes codes until it has said
them (arXiv:2411.00774, section 2.3).

Text is read through the LLM's embedding table and the pre-network, behind the keys and values that
the prefix network made of the LLM's hidden states; codes follow one by one, drawn from the
likeliest. Each text chunk begins anew. How long a text takes to say is known only when it has been
said, so which word is heard when is told from how fast the voice has spoken so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_omni.decoder import Spoken, likely
from edge_omni.graph import Graph, State
from edge_omni.settings import require

_SETTINGS = ("codes", "begin", "end", "top_k", "penalty", "penalty_window", "block", "longest")
_RATE = 2.7
"""Codes for a character of the text, before anything was said: 40 a second, 15 characters."""
_MARKS = {".", "?", "!", "。", "？", "！"}  # noqa: RUF001 (full-width marks end sentences too)
_WEAK_MARKS = ",;:，；：、"  # noqa: RUF001


class Embedder(Protocol):
    """The part of an LLM that turns text into embeddings."""

    def tokenize(self, text: bytes) -> list[int]:
        """The LLM's tokens of a text."""

    def embedding_rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings float32 [n, llm_width] of the LLM's tokens."""


class TokenDecoder:
    """Speaks text chunk by chunk.

    Args:
        text: ``embeddings`` float32 [1, n, llm_width] to ``rows`` [1, m, width].
        prefix: ``hidden`` float32 [1, n, llm_width] to ``prefix_keys`` and ``prefix_values``
            float32 [layers, heads, p, size]; None where none was trained for this LLM.
        step: ``rows`` and ``code`` int64 [1, k] to ``scores`` float32 [1, codes + more] of the
            code behind them; the prefix is its first state ``keys`` and ``values``.
        embedder: the LLM.
        config: the manifest's section ``decoder``: ``codes`` (how many the vocoder knows),
            ``begin`` and ``end`` (of speech), ``top_k``, ``penalty`` and ``penalty_window`` (what
            the scores of codes just written are divided by, once for each time; 0 for never),
            ``block`` (codes handed on at once), ``longest`` (codes for one text chunk at most).

    Attributes:
        top_k: each code is drawn from so many of the likeliest; the manifest's at first.
        use_prefix: whether hidden states are used where they are given.

    Raises:
        BundleError: the manifest lacks one of the settings.
    """

    def __init__(
        self,
        text: Graph,
        prefix: Graph | None,
        step: Graph,
        embedder: Embedder,
        config: Mapping[str, Any],
    ) -> None:
        require("decoder", config, _SETTINGS)
        self._text, self._prefix, self._step, self._embedder = text, prefix, step, embedder
        self._codes, self._longest = int(config["codes"]), int(config["longest"])
        self._begin, self._end = int(config["begin"]), int(config["end"])
        self._penalty, self._window = float(config["penalty"]), int(config["penalty_window"])
        self._block = int(config["block"])
        self.top_k = int(config["top_k"])
        self.use_prefix = True
        self._no_code = np.empty((1, 0), np.int64)
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Forget what was said; ``seed`` decides the sampling of what comes."""
        self._random = np.random.default_rng(seed)
        self._said_codes = self._said_characters = 0.0

    def speak(
        self, text: str, hidden: NDArray[np.float32] | None, *, last: bool = False
    ) -> Iterator[Spoken]:
        """Say a text chunk: it is read before this returns, and said while the result is iterated.

        Args:
            text: the chunk as the LLM wrote it.
            hidden: the LLM's hidden states at its tokens, float32 [n, llm_width], if there are any.
            last: whether the answer ends here; each chunk ends with a mark in any case.
        """
        tokens = self._embedder.tokenize(plain(text).encode())
        if not tokens:
            return iter(())
        state: State = dict(self._step.start())
        if self._prefix is not None and self.use_prefix and hidden is not None and len(hidden):
            outputs, _ = self._prefix({}, hidden=hidden[None].astype(np.float32))
            state = {**state, "keys": outputs["prefix_keys"], "values": outputs["prefix_values"]}
        outputs, _ = self._text({}, embeddings=self._embedder.embedding_rows(tokens)[None])
        rows = outputs["rows"]
        _, state = self._step(state, rows=rows, code=self._no_code)
        return self._say(len(text), np.empty((1, 0, rows.shape()[2]), np.float32), state)

    def _say(self, characters: int, rows: NDArray[np.float32], state: State) -> Iterator[Spoken]:
        written = [self._begin]
        handed = 0
        for _ in range(self._longest):
            outputs, state = self._step(state, rows=rows, code=np.array([written[-1:]], np.int64))
            code = self._draw(outputs["scores"].numpy()[0], written)
            if code == self._end:
                break
            written.append(code)
            if len(written) - 1 - handed == self._block:
                yield self._spoken(written, handed, min(self._at(len(written)), characters - 1))
                handed = len(written) - 1
        self._said_codes += len(written) - 1
        self._said_characters += characters
        yield self._spoken(written, handed, characters)

    @staticmethod
    def _spoken(written: list[int], handed: int, character: int) -> Spoken:
        return Spoken(np.array(written[1 + handed :], np.int64), character)

    def _at(self, codes: int) -> int:
        """How many characters so many codes say."""
        rate = _RATE
        if self._said_characters:
            rate = max(self._said_codes, 1) / self._said_characters
        return int(codes / rate)

    def _draw(self, scores: NDArray[np.float32], written: list[int]) -> int:
        """The next code: one that the vocoder knows, or the end."""
        scores = scores.copy()
        if self._window > 0:
            for code in written[-self._window :]:
                scores[code] /= self._penalty
        forbidden = np.arange(len(scores)) >= self._codes
        forbidden[self._end] = False
        scores[forbidden] = -np.inf
        return likely(scores, self.top_k, 1.0, self._random)


def plain(text: str) -> str:
    """The text as the decoder was trained to read it: no layout, and a mark at its end.

    What is done is what Freeze-Omni's server does to each chunk before it tokenizes it.
    """
    text = re.sub("[()（）、]", lambda mark: "," if mark[0] in "()" else "，", text)  # noqa: RUF001
    text = re.sub(r"[\n\r\t*_`~]", "", text)
    text = re.sub(r"([.:])\s+", r"\1", text)
    if re.search("[\u4e00-\u9fa5]", text):
        text = re.sub(r"(\d+)\.\s*([\u4e00-\u9fa5A-Za-z])", r"\1：\2", text)  # noqa: RUF001
    else:
        text = re.sub(r"(\d+)\.\s*(\w)", r"\1:\2", text)
    if not text or text[-1] in _MARKS:
        return text
    return (text[:-1] if text[-1] in _WEAK_MARKS else text) + "。"
