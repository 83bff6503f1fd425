"""The second pass over a turn: what may have been said instead.

Decoding that runs along with the sound is greedy and cannot take a settled token back. When the
turn may be over, its tokens are read once more with all of the sound: where the decoder wavered,
another token is tried, with what the decoder would say behind it, until that falls in with the
words it left. It is a local search for what a beam search finds, in a fraction of its steps.

What is left are readings of nearly the same probability. Which of them makes sense is for the LLM
to weigh: :func:`likeliest` adds its log probability of each to the decoder's (shallow fusion:
Kannan et al. 2018, arXiv:1712.01996).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_omni.graph import Graph, State
from edge_omni.settings import require
from edge_omni.spelling import Spelling

_SETTINGS = ("least", "gain", "tried", "rounds", "detour", "margin", "most", "llm")
_UNSEEN = math.log(1e-4)  # of a token that is not among the likeliest
_BACK = 2  # so many tokens of the old reading in a row: a detour is back on it


@dataclass(frozen=True)
class Reading:
    """One way to read what was heard.

    Attributes:
        tokens: of the adapter's vocabulary.
        text: their words.
        log_probability: of the tokens and of the end behind them, in nats.
    """

    tokens: tuple[int, ...]
    text: str
    log_probability: float


@dataclass(frozen=True)
class Path:
    """Tokens that the decoder has read, and what it would have said instead of each.

    Attributes:
        logs: log probability of each token and of the end behind them [n + 1].
        ids, probabilities: the likeliest tokens at each of these places [n + 1, k].
        state: of the decoder behind the tokens, or behind more.
    """

    tokens: tuple[int, ...]
    logs: tuple[float, ...]
    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    state: State

    @classmethod
    def of(
        cls,
        tokens: Sequence[int],
        end: int,
        ids: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        state: State,
    ) -> Path:
        """The path of ``tokens``, out of what the decoder gave in reading them."""
        logs = map(_log, ids, probabilities, (*tokens, end))
        return cls(tuple(tokens), tuple(logs), ids, probabilities, state)

    @property
    def total(self) -> float:
        """Log probability of all of it."""
        return sum(self.logs)

    def ended(self, place: int, end: int) -> Path:
        """The same with its end at ``place``."""
        kept = slice(place + 1)
        return Path.of(
            self.tokens[:place], end, self.ids[kept], self.probabilities[kept], self.state
        )

    def branches(self, least: float, gain: float) -> Iterator[tuple[float, int, int]]:
        """Tokens to try instead, the likeliest first: how much likelier than the token there (nats,
        not below ``-gain``), the place, and the token, of a probability of ``least`` or more."""
        found = []
        for place, (ids, row) in enumerate(zip(self.ids, self.probabilities, strict=True)):
            for token, probability in zip(ids.tolist(), row.tolist(), strict=True):
                if probability >= least and math.log(probability) - self.logs[place] >= -gain:
                    found.append((math.log(probability) - self.logs[place], place, token))
        yield from sorted(found, reverse=True)


class SecondPass:
    """Reads a segment of a turn again.

    Args:
        step: see :class:`edge_omni.adapter.WordAdapter`.
        spelling: the vocabulary.
        settings: ``least`` (probability from which a token is tried), ``gain`` (how much less
            likely, in nats, than the token there it may be), ``tried`` (tokens tried in a round),
            ``rounds`` (another one begins where the last one found something better), ``detour``
            (tokens until a reading is back on the words that it left), ``margin`` (readings so much
            less likely than the best, in nats, are left out), ``most`` (readings), and ``llm`` (the
            weight of the LLM's log probabilities).
    """

    def __init__(self, step: Graph, spelling: Spelling, settings: Mapping[str, Any]) -> None:
        require("adapter.settings.second_pass", settings, _SETTINGS)
        self._step, self._spelling, self._settings = step, spelling, settings

    def __call__(self, path: Path, memory: ort.OrtValue) -> list[Reading]:
        """Readings in different words, the likeliest first.

        Args:
            path: of what the first pass found.
            memory: of all frames of the segment.
        """
        settings, best = self._settings, path
        found = {path.tokens: path.total}
        for _ in range(settings["rounds"]):
            base, tried = best, 0
            for _, place, token in base.branches(settings["least"], settings["gain"]):
                if (*base.tokens, self._spelling.end)[place] == token:
                    continue
                if tried == settings["tried"]:
                    break
                tried += 1
                other = self._detour(base, place, token, memory)
                if other is not None:
                    found[other.tokens] = other.total
                    best = max(best, other, key=lambda path: path.total)
            if best is base:
                break
        return self._distinct(found)

    def _distinct(self, found: Mapping[tuple[int, ...], float]) -> list[Reading]:
        """Of readings that sound alike the likeliest."""
        readings: dict[str, Reading] = {}
        least = max(found.values()) - self._settings["margin"]
        for tokens, total in sorted(found.items(), key=lambda item: -item[1]):
            text = self._spelling.text(tokens)
            if total >= least:
                readings.setdefault(_sounding(text), Reading(tokens, text, total))
        return list(readings.values())[: self._settings["most"]]

    def _detour(self, base: Path, place: int, token: int, memory: ort.OrtValue) -> Path | None:
        """The reading that leaves ``base`` at ``place`` with ``token``; None if it gets nowhere."""
        if token == self._spelling.end:
            return base.ended(place, token)
        # At first as if the words behind were the same: they mostly are, and no more is to be read.
        path = self._continued(base, place, (token, *base.tokens[place + 1 :]), memory)
        new = [token]
        for _ in range(self._settings["detour"]):
            at = place + len(new)
            coming = int(path.ids[at, 0])
            if coming == self._spelling.end:
                return path.ended(at, coming)
            if path.tokens[at : at + 1] == (coming,):
                return path
            new.append(coming)
            rest = _rest(new, base.tokens, place)
            path = self._continued(path, at, (coming, *(rest or ())), memory)
            if rest is not None:
                return path
        return None

    def _continued(
        self, base: Path, place: int, tokens: tuple[int, ...], memory: ort.OrtValue
    ) -> Path:
        """``base`` up to ``place``, then ``tokens``."""
        state = shortened(base.state, len(self._spelling.prompt) + place)
        outputs, state = self._step(state, tokens=np.array([tokens], np.int64), memory=memory)
        ids = np.concatenate([base.ids[: place + 1], outputs["top_ids"].numpy()[0]])
        probabilities = outputs["top_probs"].numpy()[0]
        probabilities = np.concatenate([base.probabilities[: place + 1], probabilities])
        given = (*base.tokens[:place], *tokens)
        return Path.of(given, self._spelling.end, ids, probabilities, state)


def likeliest(readings: Sequence[Reading], llm: Sequence[float], weight: float) -> Reading:
    """The reading that decoder and LLM together hold likeliest.

    Args:
        llm: the LLM's log probabilities of the readings, each without a constant that all share.
        weight: of these.
    """
    totals = [one.log_probability + weight * log for one, log in zip(readings, llm, strict=True)]
    return readings[int(np.argmax(totals))]


def shortened(state: State, length: int) -> State:
    """The decoder's state after only the first ``length`` tokens."""
    past = state["self"].numpy()[:, :, :, :, :length]
    return {**state, "self": ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(past))}


def _rest(new: Sequence[int], tokens: Sequence[int], place: int) -> tuple[int, ...] | None:
    """What of ``tokens`` is left once a detour that left them at ``place`` is back on them."""
    last = tuple(new[-_BACK:])
    for end in range(place + _BACK - 1, min(len(tokens), place + len(new) + 2 * _BACK) + 1):
        if tuple(tokens[end - _BACK : end]) == last and len(last) == _BACK:
            return tuple(tokens[end:])
    return None


def _log(ids: NDArray[np.int64], probabilities: NDArray[np.float32], token: int) -> float:
    """The log probability of a token, if it is among the likeliest."""
    at = np.flatnonzero(ids == token)
    return math.log(probabilities[at[0]]) if len(at) else _UNSEEN


def _sounding(text: str) -> str:
    """A text without what cannot be heard: letters and digits alone."""
    return "".join(character for character in text.lower() if character.isalnum())
