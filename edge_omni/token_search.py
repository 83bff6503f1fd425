"""Greedy decoding that runs along with the sound.

After every chunk the decoder reads the tokens it has settled on and those it only supposes, in one
step; it keeps the suppositions that it would choose again and goes on from there until the sound
runs out: until it says so itself, or until its attention lies too close to the newest frame to be
trusted (AlignAtt, Papi et al. 2023, arXiv:2305.11408). A token settles once its attention lies well
before the newest frame and two successive chunks agree on it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.encoder import Frames
from edge_omni.graph import Graph, State
from edge_omni.second_pass import Path, Reading, SecondPass, shortened
from edge_omni.spelling import Spelling

# A decoder that misses the end of a sentence reads it again from its start: so many tokens that it
# has had before, looking at frames as near as that to where it looked then.
_AGAIN, _NEAR = 3, 4
# A word is over so many frames after the one that its last token is attended on.
_BEHIND = 8
# Reading goes forward, but a word may begin this many frames before the last one was attended to.
_OVERLAP = 10


@dataclass(frozen=True)
class Hypothesis:
    """One token that was heard.

    Attributes:
        token: the likeliest.
        peak: the frame its attention lies on, of those that the token before leaves to it.
        look: the frame most attended to, wherever it is. Some tokens rest on a silent one.
        hidden: the decoder's hidden state that the token was read from, [width].
    """

    token: int
    peak: int
    look: int
    hidden: NDArray[np.float32]


@dataclass(frozen=True)
class _Reading:
    """What the decoder says comes after one token; fields as in :class:`Hypothesis`.

    Attributes:
        ids, probabilities: the likeliest tokens [k].
    """

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    attention: NDArray[np.float32]
    hidden: NDArray[np.float32]

    @property
    def token(self) -> int:
        return int(self.ids[0])

    def after(self, peak: int) -> Hypothesis:
        """The token, when the one before it lies on frame ``peak``."""
        smooth = np.convolve(self.attention, np.ones(3, np.float32), "same")
        start = min(max(0, peak - _OVERLAP), len(smooth) - 1)
        nearest = start + int(smooth[start:].argmax())
        return Hypothesis(self.token, nearest, int(smooth.argmax()), self.hidden)


class TokenSearch:
    """The state of decoding one segment of a turn.

    Args:
        memory, step: see :class:`edge_omni.adapter.WordAdapter`.
        spelling: the vocabulary.
        settings: in frames: ``margin`` (decoding stops when attention is so close to the newest
            frame), ``settle`` (a token settles when its attention is so far behind it), ``pause``
            (silence behind the last token where a long turn may be cut), ``segment`` (length from
            which it is cut at a pause), ``longest`` (length at which it is cut anyway).

    Attributes:
        coming: what the decoder supposes behind the tokens that it found last, such as the end.
    """

    def __init__(
        self, memory: Graph, step: Graph, spelling: Spelling, settings: Mapping[str, Any]
    ) -> None:
        self._memory, self._step, self._spelling = memory, step, spelling
        self._margin, self._settle, self._pause, self._segment, self._longest = (
            int(settings[name]) for name in ("margin", "settle", "pause", "segment", "longest")
        )
        self.reset()

    def reset(self) -> None:
        """Forget frames and tokens."""
        self._final: State = self._memory.start()
        self._heard: State = self._final
        self._final_frames = self._frames = 0
        self._settled: list[Hypothesis] = []
        self._tentative: list[Hypothesis] = []
        self.coming: Hypothesis | None = None
        self._path: Path | None = None

    def fork(self) -> TokenSearch:
        """A copy that goes on by itself."""
        return copy.copy(self)

    def add(self, frames: Frames) -> None:
        """Take in frames; provisional ones stand in for those that come next."""
        if len(frames.final):
            _, self._final = self._memory(self._final, frames=frames.final[None])
            self._final_frames += len(frames.final)
        self._heard, self._frames = self._final, self._final_frames
        if len(frames.provisional):
            _, self._heard = self._memory(self._final, frames=frames.provisional[None])
            self._frames += len(frames.provisional)

    def advance(self, final: bool) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """Decode what can be decoded now.

        Args:
            final: the sound ends here.

        Returns:
            Newly settled tokens, and those that are only supposed.
        """
        if self._frames == 0:
            return [], []
        found = self._decode(final)
        count = len(found) if final else self._count_settled(found)
        newly, self._tentative = found[:count], found[count:]
        self._settled = [*self._settled, *newly]  # a fork keeps its own
        return newly, self._tentative

    def readings(self, second_pass: SecondPass) -> list[Reading]:
        """What the segment may hold, the likeliest first, once it has ended. Empty where decoding
        was cut off."""
        return [] if self._path is None else second_pass(self._path, self._heard["memory"])

    def cut(self) -> int | None:
        """See :meth:`edge_omni.adapter.Adapter.cut`."""
        if self._frames < self._segment:
            return None
        silence = self._silence()
        pause = not self._tentative and silence >= self._pause
        if not pause and self._frames < self._longest:
            return None
        # From behind the last settled word: what lies there may be more than silence.
        return self._frames - min(max(0, silence - _BEHIND), self._segment // 3)

    def _decode(self, final: bool) -> list[Hypothesis]:
        """Tokens after the settled ones."""
        known = [item.token for item in self._settled]
        supposed = [item.token for item in self._tentative]
        state = self._step.start()
        given, steps = [*self._spelling.prompt, *known, *supposed], len(known) + len(supposed) + 1
        found: list[Hypothesis] = []
        read: list[_Reading] = []
        limit = 12 + self._frames // 4  # twice as fast as anyone speaks
        self._path = None
        while True:
            items, state = self._read(given, state, steps)
            if not read:
                read, items = items[: len(known)], items[len(known) :]
            for place, item in enumerate(items):
                read.append(item)
                before = found or self._settled
                found.append(item.after(before[-1].peak if before else 0))
                if place >= len(supposed) or item.token != supposed[place]:
                    break
            last = self.coming = found[-1]
            unsure = not final and last.peak >= self._frames - self._margin
            if last.token == self._spelling.end or unsure or len(known) + len(found) > limit:
                self._path = self._read_path(found[:-1], read, state) if final else None
                return found[:-1]
            loop = repeated([*known, *(item.token for item in found)])
            loop = loop or self._reread(found)
            if loop:
                return found[: max(0, len(found) - loop)]
            if len(items) > 1 or supposed:
                state = shortened(state, len(self._spelling.prompt) + len(known) + len(found) - 1)
            given, steps, supposed = [last.token], 1, []

    def _read_path(
        self, found: Sequence[Hypothesis], read: Sequence[_Reading], state: State
    ) -> Path:
        """All of the segment's tokens, as they were read last."""
        ids, probabilities = (
            np.stack([getattr(item, name) for item in read]) for name in ("ids", "probabilities")
        )
        tokens = [item.token for item in (*self._settled, *found)]
        return Path.of(tokens, self._spelling.end, ids, probabilities, state)

    def _reread(self, found: Sequence[Hypothesis]) -> int:
        """How many tokens at the end were read before, out of the same sound; 0 if too few."""
        seen = [(item.token, item.look) for item in (*self._settled, *found)]
        last = seen[-_AGAIN:]
        if len(found) < _AGAIN or len({look for _, look in last}) < _AGAIN:
            return 0
        for start in range(len(seen) - 2 * _AGAIN + 1):
            pairs = zip(seen[start : start + _AGAIN], last, strict=True)
            if all(a[0] == b[0] and abs(a[1] - b[1]) <= _NEAR for a, b in pairs):
                return _AGAIN
        return 0

    def _read(
        self, tokens: Sequence[int], state: State, count: int
    ) -> tuple[list[_Reading], State]:
        """Feed tokens; what each of the last ``count`` of them leads to."""
        outputs, state = self._step(
            state, tokens=np.array([tokens], np.int64), memory=self._heard["memory"]
        )
        names = ("top_ids", "top_probs", "attention", "hidden")
        rows = zip(*(outputs[name].numpy()[0][-count:] for name in names), strict=True)
        return [_Reading(*row) for row in rows], state

    def _count_settled(self, found: list[Hypothesis]) -> int:
        if self._frames >= self._segment and self._silence(found) >= self._pause:
            return len(found)  # the turn is long, and can be cut here
        count = 0
        for item, before in zip(found, self._tentative, strict=False):
            if item.token != before.token or item.peak > self._frames - self._settle:
                break
            count += 1
        # A pause looks like the end of a sentence until the next word comes.
        while count and count == len(found) and self._spelling.punctuation(found[count - 1].token):
            count -= 1
        return count

    def _silence(self, found: Sequence[Hypothesis] = ()) -> int:
        """Frames since the last word."""
        for item in reversed((*self._settled, *found)):
            if not self._spelling.punctuation(item.token):
                return self._frames - item.peak
        return self._frames


def repeated(tokens: Sequence[int], times: int = 4, longest: int = 12) -> int:
    """How many tokens at the end only repeat what stands before them; 0 if it is no loop."""
    for period in range(1, longest + 1):
        span = period * times
        if len(tokens) >= span and all(
            tokens[-i] == tokens[-i - period] for i in range(1, span - period + 1)
        ):
            return span - period
    return 0
