"""The vocoder: codec tokens to sound, piece by piece, with no join between pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.graph import Graph
from edge_omni.settings import require

_SETTINGS = ("sample_rate", "samples_per_code", "delay", "silence")


class Vocoder:
    """Turns a stream of codes into a stream of sound.

    The graph takes ``codes`` int64 [1, n] and returns ``pcm`` float32 [1, n * samples_per_code],
    which runs behind the codes by ``delay`` samples: what its convolutions look ahead.

    Args:
        graph: the streaming graph.
        config: the manifest's section ``vocoder``: ``sample_rate``, ``samples_per_code``,
            ``delay`` in samples, and ``silence``, the code that sounds like nothing.

    Attributes:
        sample_rate: of the sound, in Hz.
        delay: samples held back until the codes after them, or :meth:`flush`, have come.

    Raises:
        BundleError: the manifest lacks one of the settings.
    """

    def __init__(self, graph: Graph, config: Mapping[str, Any]) -> None:
        require("vocoder", config, _SETTINGS)
        self._graph = graph
        self.sample_rate = int(config["sample_rate"])
        self.samples_per_code = int(config["samples_per_code"])
        self.delay = int(config["delay"])
        self._silence = int(config["silence"])
        self.reset()

    def reset(self) -> None:
        """Forget what came before; the next code begins a new sound."""
        self._state = self._graph.start()
        self._early = self.delay
        self._owed = 0

    def push(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Take the next codes [k], any number of them.

        Returns:
            The sound that is certain by now: float32 [n], n <= k * samples_per_code.
        """
        self._owed += len(codes) * self.samples_per_code
        pcm = self._run(np.asarray(codes, np.int64))
        self._owed -= len(pcm)
        return pcm

    def flush(self) -> NDArray[np.float32]:
        """The sound held back, float32 [delay or less]. The next code begins a new sound."""
        owed = self._owed
        silent = -(-self.delay // self.samples_per_code) if owed else 0
        pcm = self._run(np.full(silent, self._silence, np.int64))
        self.reset()
        return pcm[:owed]

    def _run(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(codes) == 0:
            return np.empty(0, np.float32)
        outputs, self._state = self._graph(self._state, codes=codes[None])
        pcm: NDArray[np.float32] = outputs["pcm"].numpy()[0]
        skipped = min(self._early, len(pcm))
        self._early -= skipped
        return pcm[skipped:]
