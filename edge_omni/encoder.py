"""Sound in, encoder frames out, chunk by chunk."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.graph import Graph

Pcm = NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """What the encoder makes of some sound.

    Attributes:
        final: frames [n, width] that are made for good. Each comes once.
        provisional: frames [m, width] behind them, made of the newest chunks without knowing what
            follows them. They come again with the next chunk, and at last for good.
    """

    final: NDArray[np.float32]
    provisional: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.final) + len(self.provisional)


class Encoder:
    """The streaming speech encoder.

    Feature extraction is inside of the graph: input ``pcm`` float32 [1, chunk] at 16 kHz, output
    ``frames`` float32 [1, n, width].

    Args:
        graph: the encoder's graph.
        config: ``chunk`` (samples per step), ``frame`` (samples per frame), ``width``, and
            ``provisional`` (how many of the last frames of a step are provisional; 0 if none).

    Attributes:
        chunk: samples that one step of the graph takes.
        frame: samples from one frame to the next.
        width: of a frame.
    """

    def __init__(self, graph: Graph, config: Mapping[str, Any]) -> None:
        self._graph = graph
        self.chunk = int(config["chunk"])
        self.frame = int(config["frame"])
        self._provisional_count = int(config.get("provisional", 0))
        self.width = int(config["width"])
        self._none = np.empty((0, self.width), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._state = self._graph.start()
        self._waiting = np.empty(0, np.float32)
        self._provisional = self._none

    def fork(self) -> Encoder:
        """A copy that goes on by itself; nothing in it is changed in place."""
        return copy.copy(self)

    def push(self, pcm: Pcm) -> Frames:
        """Hear any number of samples; what does not fill a chunk waits for more.

        Returns:
            The frames of the chunks that were filled; none at all if that was none.
        """
        pcm = np.concatenate([self._waiting, pcm.astype(np.float32, copy=False)])
        whole = len(pcm) // self.chunk * self.chunk
        self._waiting = pcm[whole:]
        if whole == 0:
            return Frames(self._none, self._none)
        return Frames(self._run(pcm[:whole]), self._provisional)

    def flush(self) -> Frames:
        """The sound has ended: all frames that are still to come, for good.

        Sound that waits is heard with silence behind it.
        """
        waiting, self._waiting = self._waiting, self._waiting[:0]
        final = self._run(np.pad(waiting, (0, -len(waiting) % self.chunk)))
        last, self._provisional = self._provisional, self._none
        return Frames(np.concatenate([final, last]), self._none)

    def _run(self, pcm: Pcm) -> NDArray[np.float32]:
        """Final frames of whole chunks; the provisional ones are kept."""
        final = [self._none]
        for start in range(0, len(pcm), self.chunk):
            outputs, self._state = self._graph(
                self._state, pcm=pcm[None, start : start + self.chunk]
            )
            frames = outputs["frames"].numpy()[0]
            split = max(0, len(frames) - self._provisional_count)
            final.append(frames[:split])
            self._provisional = frames[split:]
        return np.concatenate(final)
