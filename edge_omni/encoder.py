"""Sound in, encoder frames out, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.graph import Graph

Pcm = NDArray[np.float32]
Frames = NDArray[np.float32]


class Encoder:
    """The streaming speech encoder.

    Feature extraction is inside of the graph: input ``pcm`` float32 [1, chunk] at 16 kHz, output
    ``frames`` float32 [1, n, width].

    Args:
        graph: the encoder's graph.
        config: ``chunk`` (samples per step), ``frame`` (samples per frame), ``width``.

    Attributes:
        chunk: samples that one step of the graph takes.
        frame: samples from one frame to the next.
    """

    def __init__(self, graph: Graph, config: Mapping[str, Any]) -> None:
        self._graph = graph
        self.chunk = int(config["chunk"])
        self.frame = int(config["frame"])
        self._none = np.empty((0, int(config["width"])), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._state = self._graph.start()
        self._waiting = np.empty(0, np.float32)

    def push(self, pcm: Pcm) -> Frames:
        """Hear any number of samples; what does not fill a chunk waits for more.

        Returns:
            Frames [m, width] of the chunks that were filled; m may be 0.
        """
        pcm = np.concatenate([self._waiting, pcm.astype(np.float32, copy=False)])
        whole = len(pcm) // self.chunk * self.chunk
        self._waiting = pcm[whole:]
        return self._run(pcm[:whole])

    def flush(self) -> Frames:
        """The frames of the sound that still waits, with silence behind it: [m, width]."""
        waiting, self._waiting = self._waiting, self._waiting[:0]
        return self._run(np.pad(waiting, (0, -len(waiting) % self.chunk)))

    def _run(self, pcm: Pcm) -> Frames:
        frames = [self._none]
        for start in range(0, len(pcm), self.chunk):
            outputs, self._state = self._graph(
                self._state, pcm=pcm[None, start : start + self.chunk]
            )
            frames.append(outputs["frames"].numpy()[0])
        return np.concatenate(frames)
