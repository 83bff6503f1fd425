"""From encoder frames to what the LLM reads: two kinds of adapter, one contract.

The *word-synchronous* adapter is an attention decoder that runs along with the sound and tells the
words of the turn so far, for the LLM to read as its own tokens. The *frame-synchronous* one is a
strided graph (Freeze-Omni, arXiv:2411.00774, section 3.2) that emits embeddings at a fixed rate.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_omni.encoder import Encoder, Frames
from edge_omni.graph import Graph
from edge_omni.second_pass import Reading, SecondPass
from edge_omni.spelling import Spelling
from edge_omni.token_search import Hypothesis, TokenSearch

Rows = NDArray[np.float32]

TOKENS = 8
"""Hidden states of the adapter that the state head may look at."""
FRAMES = 50
"""Frames of the encoder that it may look at."""


@dataclass(frozen=True)
class Words:
    """The turn so far, in words.

    Attributes:
        text: all of it, as it would be typed. What the next push tells takes its place: it begins
            with the same words, as far as they have settled.
    """

    text: str


Heard: TypeAlias = Words | Rows
"""What one push brought: the words of the turn so far, or embeddings of the LLM, float32
[n, width], that stand behind those of the pushes before."""


class Adapter(Protocol):
    """Encoder frames in, words or embeddings of the LLM out."""

    @property
    def caption(self) -> str:
        """The text heard so far, for people to read; empty where the adapter knows no words."""

    @property
    def hidden(self) -> Rows:
        """Hidden states [m, width] of the last tokens and of what may come next, ``TOKENS`` of
        them at most; m is 0 where the adapter has none."""

    def push(self, frames: Frames) -> Heard:
        """Hear frames."""

    def finish(self, frames: Frames | None = None) -> Heard:
        """The turn ends with these frames: settle everything."""

    def readings(self) -> list[Reading]:
        """What else the turn may be, once it is finished: the likeliest first, that which was told
        among them; none where there is nothing to choose from."""

    def take(self, reading: Reading) -> Heard:
        """Let the turn be one of these."""

    def reset(self) -> None:
        """Forget the turn."""

    def fork(self) -> Adapter:
        """A copy that goes on by itself."""

    def resume(self) -> None:
        """Go on with a turn that had been finished, in sound that begins anew."""

    def cut(self) -> int | None:
        """Where a long turn is to be cut now: the frame from which to hear it again.

        The adapter has then forgotten all frames and keeps the text; the caller starts the
        encoder afresh from the sound at that frame. None while the turn can go on as it is.
        """


class WordAdapter:
    """The word-synchronous adapter.

    Args:
        memory: graph from ``frames`` to its state ``memory``, what tokens attend to.
        step: graph from ``tokens`` and ``memory`` to ``top_ids``, ``top_probs``, ``attention``
            and ``hidden``.
        settings: ``vocabulary`` (file name), when tokens settle, see :class:`TokenSearch`, and
            ``second_pass``, see :class:`SecondPass`, where there is one.
        folder: where the vocabulary file is.
    """

    def __init__(
        self, memory: Graph, step: Graph, settings: Mapping[str, Any], folder: Path
    ) -> None:
        self._spelling = Spelling(folder / settings["vocabulary"])
        self._search = TokenSearch(memory, step, self._spelling, settings)
        second = settings.get("second_pass")
        self._second_pass = SecondPass(step, self._spelling, second) if second else None
        self.reset()

    def reset(self) -> None:
        """Forget the turn."""
        self._search.reset()
        self._settled: list[int] = []
        self._segment = 0  # its first token
        self._states: list[Rows] = []
        self._tentative: list[Hypothesis] = []

    def fork(self) -> WordAdapter:
        """A copy that goes on by itself."""
        other = copy.copy(self)
        other._search = self._search.fork()
        return other

    def resume(self) -> None:
        """See :meth:`Adapter.resume`."""
        self._begin_segment()
        self._tentative = []

    @property
    def caption(self) -> str:
        """The text heard so far."""
        tokens = [*self._settled, *(item.token for item in self._tentative)]
        return self._spelling.text(tokens).strip()

    @property
    def hidden(self) -> Rows:
        """See :attr:`Adapter.hidden`."""
        coming = self._search.coming
        states = [*self._states, *(item.hidden for item in self._tentative)]
        states += [] if coming is None else [coming.hidden]
        return np.stack(states[-TOKENS:]) if states else np.empty((0, 0), np.float32)

    def push(self, frames: Frames) -> Words:
        """Hear frames."""
        if len(frames):
            self._search.add(frames)
            self._note(*self._search.advance(final=False))
        return Words(self.caption)

    def finish(self, frames: Frames | None = None) -> Words:
        """Hear the last frames and settle everything."""
        if frames is not None and len(frames):
            self._search.add(frames)
        self._note(*self._search.advance(final=True))
        return Words(self.caption)

    def cut(self) -> int | None:
        """See :meth:`Adapter.cut`."""
        frame = self._search.cut()
        if frame is not None:
            self._begin_segment()
        return frame

    def readings(self) -> list[Reading]:
        """See :meth:`Adapter.readings`; only what the newest segment may be is asked, and nothing
        where it holds no words: in noise some could be found."""
        if self._second_pass is None or len(self._settled) == self._segment:
            return []
        before = self._settled[: self._segment]
        found = self._search.readings(self._second_pass)
        return [
            replace(one, text=self._spelling.text([*before, *one.tokens]).strip()) for one in found
        ]

    def take(self, reading: Reading) -> Words:
        """See :meth:`Adapter.take`."""
        self._settled = [*self._settled[: self._segment], *reading.tokens]
        return Words(self.caption)

    def _begin_segment(self) -> None:
        self._search.reset()
        self._segment = len(self._settled)

    def _note(self, settled: list[Hypothesis], tentative: list[Hypothesis]) -> None:
        # Lists are never changed in place: a fork keeps its own.
        self._settled = [*self._settled, *(item.token for item in settled)]
        self._states = [*self._states, *(item.hidden for item in settled)][-TOKENS:]
        self._tentative = tentative


class FrameAdapter:
    """The frame-synchronous adapter: a streaming graph from ``frames`` to ``embeddings``.

    What it emits is final. It has no words, so its caption stays empty.

    Args:
        graph: the adapter's graph.
        width: size of the LLM's embeddings.
    """

    caption = ""

    def __init__(self, graph: Graph, width: int) -> None:
        self._graph = graph
        self._none = np.empty((0, width), np.float32)
        self.hidden = np.empty((0, 0), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the turn."""
        self._state = self._graph.start()

    def fork(self) -> FrameAdapter:
        """A copy that goes on by itself."""
        return copy.copy(self)

    def resume(self) -> None:
        """The state knows no end."""

    def push(self, frames: Frames) -> Rows:
        """Hear frames; provisional ones are left until they are final."""
        if len(frames.final) == 0:
            return self._none
        outputs, self._state = self._graph(self._state, frames=frames.final[None])
        rows: Rows = outputs["embeddings"].numpy()[0]
        return rows

    def finish(self, frames: Frames | None = None) -> Rows:
        """Hear the last frames; nothing was held back."""
        if frames is not None and len(frames):
            return self.push(frames)
        return self._none

    def cut(self) -> None:
        """The state does not grow."""

    def readings(self) -> list[Reading]:
        """There is nothing to choose from."""
        return []

    def take(self, reading: Reading) -> Rows:
        """There is nothing to take."""
        return self._none


class Listener:
    """Encoder and adapter together: sound in, words or embeddings out.

    A turn begins by itself with the first push after :meth:`finish` or :meth:`reset`.
    """

    def __init__(self, encoder: Encoder, adapter: Adapter) -> None:
        self._encoder = encoder
        self._adapter = adapter
        self.reset()

    @property
    def caption(self) -> str:
        """The text of the turn so far, also after its end."""
        return self._adapter.caption

    @property
    def frames(self) -> Rows:
        """The newest frames of the encoder, provisional ones too: [FRAMES, width], zeros in front
        of the first."""
        return np.pad(self._frames, ((FRAMES - len(self._frames), 0), (0, 0)))

    @property
    def hidden(self) -> Rows:
        """The adapter's hidden states, see :attr:`Adapter.hidden`: [TOKENS, width], zeros in front
        of the first."""
        hidden = self._adapter.hidden
        if len(hidden) == 0:
            return np.zeros((TOKENS, self._encoder.width), np.float32)
        return np.pad(hidden, ((TOKENS - len(hidden), 0), (0, 0)))

    def reset(self) -> None:
        """Forget the turn and all sound."""
        self._encoder.reset()
        self._adapter.reset()
        self._sound: list[NDArray[np.float32]] = []
        self._final = self._frames = np.empty((0, self._encoder.width), np.float32)
        self._ended = False

    def fork(self) -> Listener:
        """A copy that goes on by itself."""
        other = copy.copy(self)
        other._encoder, other._adapter = self._encoder.fork(), self._adapter.fork()
        return other

    def resume(self) -> None:
        """Take back :meth:`finish`: what is heard from now on belongs to the same turn."""
        self._encoder.reset()
        self._adapter.resume()
        self._sound, self._ended = [], False

    def push(self, pcm: NDArray[np.float32]) -> Heard:
        """Hear any number of samples, float32 at 16 kHz."""
        if self._ended:
            self.reset()
        parts = [self._adapter.push(self._encoder.push(pcm[:0]))]
        for start in range(0, len(pcm), self._encoder.chunk):
            parts.append(self._hear(pcm[start : start + self._encoder.chunk]))
            frame = self._adapter.cut()
            if frame is not None:
                again = np.concatenate(self._sound)[max(0, (frame - 1) * self._encoder.frame) :]
                self._sound = []
                self._encoder.reset()
                parts.append(self._hear(again))
        return joined(parts)

    def _hear(self, pcm: NDArray[np.float32]) -> Heard:
        # A view would keep the array that it was cut from, and a fork keeps a list of its own.
        self._sound = [*self._sound, pcm.copy()]
        return self._adapter.push(self._noted(self._encoder.push(pcm)))

    def _noted(self, frames: Frames) -> Frames:
        """``frames``, the newest of which are kept."""
        if len(frames):
            self._final = np.concatenate([self._final, frames.final])[-FRAMES:]
            self._frames = np.concatenate([self._final, frames.provisional])[-FRAMES:]
        return frames

    def finish(self) -> Heard:
        """The turn has ended: hear what still waits, and settle everything."""
        if self._ended:
            self.reset()
        self._ended = True
        return self._adapter.finish(self._noted(self._encoder.flush()))

    def readings(self) -> list[Reading]:
        """See :meth:`Adapter.readings`."""
        return self._adapter.readings()

    def take(self, reading: Reading) -> Heard:
        """See :meth:`Adapter.take`."""
        return self._adapter.take(reading)


def joined(parts: Sequence[Heard]) -> Heard:
    """What several pushes brought, one after another."""
    rows = [part for part in parts if not isinstance(part, Words)]
    return np.concatenate(rows) if rows else parts[-1]
