"""Where each millisecond of a turn goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Timeline:
    """When the steps of one turn happened, in seconds from the decision to answer.

    The end of speech lies before it, on the audio clock, and is negative; the others are measured
    on the monotonic clock. ``prefill`` is the moment when the speech decoder has read the first
    text chunk, ``first_pcm`` the moment when the first samples are handed to the speaker.
    """

    marks: dict[str, float] = field(default_factory=dict)

    def decide(self, end_of_speech: float) -> None:
        """The decision falls now; the user's last sound was ``end_of_speech`` seconds ago."""
        self._zero = time.monotonic()
        self.marks = {"end_of_speech": -end_of_speech, "decision": 0.0}

    def mark(self, name: str) -> None:
        """``name`` happens now. Only the first time counts."""
        self.marks.setdefault(name, time.monotonic() - self._zero)

    @property
    def to_first_pcm(self) -> float | None:
        """Seconds from the decision to the first sound: the model's share of the latency."""
        return self.marks.get("first_pcm")

    @property
    def felt(self) -> float | None:
        """Seconds from the user's last sound to the first sound of the answer."""
        if "first_pcm" not in self.marks:
            return None
        return self.marks["first_pcm"] - self.marks["end_of_speech"]
