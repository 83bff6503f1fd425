"""Where each millisecond of a turn goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Timeline:
    """When the steps of one turn happened.

    The end of speech is known on the audio clock, the others are measured on the monotonic clock.
    ``prefill`` is the moment when the speech decoder has read the first text chunk, ``first_pcm``
    the moment when the first samples are handed to the speaker. What was prepared before the
    decision to answer has times before it.
    """

    _times: dict[str, float] = field(default_factory=dict)

    def decide(self, end_of_speech: float) -> None:
        """The decision falls now; the user's last sound was ``end_of_speech`` seconds ago."""
        now = time.monotonic()
        self._times |= {"end_of_speech": now - end_of_speech, "decision": now}

    def mark(self, name: str) -> None:
        """``name`` happens now. Only the first time counts."""
        self._times.setdefault(name, time.monotonic())

    @property
    def marks(self) -> dict[str, float]:
        """The steps in order, in seconds from the decision to answer."""
        zero = self._times.get("decision", 0.0)
        ordered = sorted(self._times.items(), key=lambda step: step[1])
        return {name: at - zero for name, at in ordered}

    @property
    def to_first_pcm(self) -> float | None:
        """Seconds from the decision to the first sound: the model's share of the latency."""
        return self.marks.get("first_pcm")

    @property
    def felt(self) -> float | None:
        """Seconds from the user's last sound to the first sound of the answer."""
        marks = self.marks
        if "first_pcm" not in marks:
            return None
        return marks["first_pcm"] - marks["end_of_speech"]
