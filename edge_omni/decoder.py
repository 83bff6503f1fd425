"""The speech decoder: a text chunk and the LLM's hidden states in, codec tokens out.

The parts are Freeze-Omni's (section 2.3 of the paper): a non-autoregressive pre-network over the
text, a non-autoregressive prefix network over the LLM's hidden states, whose keys and values stand
before the decoder's own, and an autoregressive decoder over one codebook with top-k sampling. Here
the pre-network reads characters, so that the voice speaks for any LLM, and tells how long each is
said. So there are as many codes as the text takes to say: skipping, looping and running on cannot
happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_omni.graph import Graph
from edge_omni.reading import read
from edge_omni.settings import require

_SETTINGS = (
    "characters",
    "begin",
    "top_k",
    "temperature",
    "longest_text",
    "block",
    "prefix_shape",
)
_SENTENCE_END = ".?!"


@dataclass(frozen=True)
class Spoken:
    """A block of codes.

    Attributes:
        codes: int64 [k].
        character: so many characters of the text are spoken once this block has been heard.
    """

    codes: NDArray[np.int64]
    character: int


@dataclass(frozen=True)
class _Piece:
    """What the pre-network reads at once: ids, and for each where the written text then is."""

    ids: list[int]
    ends: list[int]


_Read: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]


class Decoder(Protocol):
    """Says an answer's text chunks, one after the other.

    Attributes:
        top_k: each code is drawn from so many of the likeliest.
        use_prefix: whether hidden states are used where they are given.
    """

    top_k: int
    use_prefix: bool

    def reset(self, seed: int = 0) -> None:
        """Forget what was said; ``seed`` decides the sampling of what comes."""

    def speak(
        self, text: str, hidden: NDArray[np.float32] | None, *, last: bool = False
    ) -> Iterator[Spoken]:
        """Say a text chunk: it is read before this returns, and said while the result is iterated.

        Args:
            text: the chunk as the LLM wrote it.
            hidden: the LLM's hidden states at its tokens, float32 [n, llm_width], if there are any.
            last: whether the answer ends here.
        """


class SpeechDecoder:
    """Speaks text chunk by chunk; the voice goes on from one chunk to the next.

    Args:
        text: ``characters`` int64 [1, n] to ``features`` float32 [1, T, width], one for each
            code, and ``durations`` float32 [1, n], in codes.
        prefix: ``hidden`` float32 [1, n, llm_width] to ``prefix_keys`` and ``prefix_values``
            float32 [layers, heads, n, size]; None where none was trained for this LLM.
        step: ``code`` int64 [1, 1], ``feature`` float32 [1, 1, width] and the prefix to
            ``scores`` float32 [1, codes]; its state is the key/value cache.
        config: the manifest's section ``decoder``: ``characters`` (a string; the place of each is
            its id, the first three are padding, beginning and end of a sentence), ``begin`` (the
            code before the first), ``top_k``, ``temperature``, ``longest_text`` (characters read
            at once), ``block`` (codes handed on at once).

    Attributes:
        top_k: each code is drawn from so many of the likeliest; the manifest's at first.
        use_prefix: whether hidden states are used where they are given.

    Raises:
        BundleError: the manifest lacks one of the settings.
    """

    def __init__(
        self, text: Graph, prefix: Graph | None, step: Graph, config: Mapping[str, Any]
    ) -> None:
        require("decoder", config, _SETTINGS)
        self._text, self._prefix, self._step = text, prefix, step
        self._ids = {character: i for i, character in enumerate(config["characters"])}
        self._begin = int(config["begin"])
        self.top_k = int(config["top_k"])
        self.use_prefix = True
        self._temperature = float(config["temperature"])
        self._longest = int(config["longest_text"])
        self._block = int(config["block"])
        self._no_prefix = np.zeros([int(size) for size in config["prefix_shape"]], np.float32)
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Forget what was said; ``seed`` decides the sampling of what comes."""
        self._random = np.random.default_rng(seed)
        self._state = self._step.start()
        self._code = self._begin
        self._inside = False

    def speak(
        self, text: str, hidden: NDArray[np.float32] | None, *, last: bool = False
    ) -> Iterator[Spoken]:
        """Say a text chunk: it is read before this returns, and said while the result is iterated.

        Args:
            text: the chunk as the LLM wrote it; nothing is said of what cannot be said.
            hidden: the LLM's hidden states at its tokens, float32 [n, llm_width], if there are
                any; they count for nothing without a prefix network.
            last: whether the answer ends here, so that the voice falls though no mark says so.
        """
        keys, values = self._prefix_of(hidden)
        pieces = list(self._pieces(text, last))
        first = self._read(pieces[0]) if pieces else None
        return self._say(pieces, first, keys, values)

    def _read(self, piece: _Piece) -> _Read:
        """Features [1, T, width] of a piece, and the code at which each of its characters ends."""
        outputs, _ = self._text({}, characters=np.array([piece.ids], np.int64))
        return outputs["features"].numpy(), np.cumsum(outputs["durations"].numpy()[0])

    def _say(
        self, pieces: list[_Piece], first: _Read | None, keys: Any, values: Any
    ) -> Iterator[Spoken]:
        for piece in pieces:
            features, said = first or self._read(piece)
            first = None
            codes: list[int] = []
            for at in range(features.shape[1]):
                codes.append(self._next(features[:, at : at + 1], keys, values))
                done = at + 1 == features.shape[1]
                if len(codes) == self._block or done:
                    count = int(np.searchsorted(said, at + 1, side="right"))
                    end = piece.ends[-1] if done else ([0, *piece.ends])[count]
                    yield Spoken(np.array(codes, np.int64), end)
                    codes = []

    def _next(self, feature: NDArray[np.float32], keys: Any, values: Any) -> int:
        """Sample one code."""
        outputs, self._state = self._step(
            self._state,
            code=np.array([[self._code]], np.int64),
            feature=feature,
            prefix_keys=keys,
            prefix_values=values,
        )
        scores = outputs["scores"].numpy()[0]
        self._code = likely(scores, self.top_k, self._temperature, self._random)
        return self._code

    def _prefix_of(self, hidden: NDArray[np.float32] | None) -> tuple[Any, Any]:
        if self._prefix is None or not self.use_prefix or hidden is None or len(hidden) == 0:
            return self._no_prefix, self._no_prefix
        outputs, _ = self._prefix({}, hidden=hidden[None].astype(np.float32))
        return outputs["prefix_keys"], outputs["prefix_values"]

    def _pieces(self, text: str, last: bool) -> Iterator[_Piece]:
        """The sentences of a chunk, long ones cut between words, as ids."""
        reading = read(text)
        if not reading.text:
            return
        said, ends = reading.text, [int(end) for end in reading.ends]
        if last and said[-1] not in _SENTENCE_END:
            said, ends = said + ".", [*ends, ends[-1]]
        ends[-1] = len(text)
        start = 0
        while start < len(said):
            stop = self._stop(said, start)
            yield self._piece(said[start:stop], ends[start:stop])
            start = stop

    def _stop(self, said: str, start: int) -> int:
        """Where the piece from ``start`` ends: behind a sentence, or before a space."""
        most = min(start + self._longest, len(said))
        for at in range(start, most):
            if said[at] in _SENTENCE_END and said[at + 1 : at + 2] in {"", " "}:
                return at + 1
        if most == len(said):
            return most
        space = said.rfind(" ", start + 1, most + 1)
        return space if space > start else most

    def _piece(self, said: str, ends: list[int]) -> _Piece:
        before = ends[0]
        if self._inside:
            said, ends = (said, ends) if said[0] == " " else (" " + said, [before, *ends])
        else:
            stripped = said.lstrip(" ")
            ends = ends[len(said) - len(stripped) :]
            said, ends = "\1" + stripped, [0, *ends]
        self._inside = said[-1] not in _SENTENCE_END
        ids = [1 if c == "\1" else self._ids[c] for c in said if c == "\1" or c in self._ids]
        ends = [end for c, end in zip(said, ends, strict=True) if c == "\1" or c in self._ids]
        if not self._inside:
            ids, ends = [*ids, 2], [*ends, ends[-1]]
        return _Piece(ids, ends)


def likely(
    scores: NDArray[np.float32], top_k: int, temperature: float, random: np.random.Generator
) -> int:
    """Draw from the ``top_k`` likeliest of scores [n]."""
    if top_k == 1:
        return int(scores.argmax())
    top = np.argpartition(scores, -top_k)[-top_k:]
    odds = np.exp((scores[top] - scores[top].max()) / temperature)
    odds = np.cumsum(odds / odds.sum())
    chosen = int(np.searchsorted(odds, random.random()))
    return int(top[min(chosen, len(top) - 1)])
