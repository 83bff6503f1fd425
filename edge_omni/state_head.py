"""The state head: does the user go on, want an answer, or mean somebody else?

Voice activity only tells that somebody speaks. The state head judges what it was: from the last
second of the encoder's frames (how it sounds), from the adapter's hidden states (what was said, its
punctuation included) and, where it was trained for the LLM, from the LLM's own hidden state: at the
head of an answer to it, or behind what was heard, as Freeze-Omni does (arXiv:2411.00774, section
2.4). It tells three states:
go on listening, answer now, and nothing to answer (noise, a backchannel, talk to somebody else).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_omni.dialogue import StateProbabilities
from edge_omni.graph import Graph

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """What there is to judge by.

    Attributes:
        frames: the newest frames of the encoder, float32 [1, FRAMES, width].
        hidden: hidden states of the adapter at the last tokens and at what would come next,
            float32 [1, TOKENS, width]. Both have zeros in front of the first.
        llm: hidden state of the LLM at the head of its answer, float32 [1, llm_width]; zeros for
            what is said while the assistant speaks.
        heard: hidden state of the LLM behind the last embedding of what was heard, float32
            [1, llm_width]. While the assistant speaks, the LLM has heard it as what the user says
            after as much of the answer as they had heard when they began.
        silence: seconds since the last voice.
        voiced: seconds of voice so far.
        over: whether it is said while the assistant speaks.
        level: how much louder it is than what the user said before, in dB; None if unknown.
    """

    frames: Rows
    hidden: Rows
    llm: Rows
    heard: Rows
    silence: float
    voiced: float
    over: bool
    level: float | None = None

    @property
    def facts(self) -> Rows:
        """What is not heard or thought but counted: float32 [1, 5], each about 0 to 1."""
        known = self.level is not None
        level = np.clip((self.level or 0.0) / 20, -1.5, 1.5)
        values = (np.log1p(self.silence), np.log1p(self.voiced), self.over, known, level)
        return np.array([values], np.float32)


class Loudness:
    """How loud somebody speaks: the mean power of what is voiced."""

    def __init__(self) -> None:
        self._power, self._samples = 0.0, 0

    def add(self, pcm: NDArray[np.float32]) -> None:
        """Take voiced samples in: float32 [n]."""
        self._power += float(np.square(pcm).sum())
        self._samples += len(pcm)

    @property
    def decibels(self) -> float | None:
        """Over full scale; None before anything was taken in."""
        return 10 * float(np.log10(self._power / self._samples + 1e-10)) if self._samples else None


def above(speech: Loudness, user: float | None) -> float | None:
    """How many dB ``speech`` is louder than the user was; None if either is unknown."""
    heard = speech.decibels
    return None if heard is None or user is None else heard - user


class StateHead:
    """Judges evidence.

    Args:
        graph: from any of ``frames``, ``hidden``, ``llm``, ``heard`` and ``facts`` (see
            :class:`Evidence`) to ``probabilities`` [1, 3]: go on listening, answer, nothing to
            answer.

    Attributes:
        reads_on: whether the LLM has to hear what is said while the assistant speaks.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.reads_on = "heard" in graph.inputs

    def __call__(self, evidence: Evidence) -> StateProbabilities:
        """The probability of each state."""
        inputs = {name: getattr(evidence, name) for name in self._graph.inputs}
        outputs, _ = self._graph({}, **inputs)
        listen, answer, ignore = outputs["probabilities"].numpy()[0].tolist()
        return StateProbabilities(listen, answer, ignore)
