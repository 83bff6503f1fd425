"""What the speaker played, in the microphone's time: the reference for echo cancellation.

Microphone and speaker count their samples on clocks of their own, up to 100 parts per million
apart: a third of a second in an hour. The reference is resampled a little faster or slower, so
that it stays where it is; nobody hears it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.resample import Resampler
from edge_omni.audio.ring import Ring

RATE = 16_000
LEAD = 0.06  # seconds by which the reference is early; the canceller wants 0.02 at least
JUMP = 0.03  # seconds off at which it is set right at once: sound was lost
SMOOTHING = 1.0  # seconds over which the trembling of the devices' reports is averaged
SETTLING = 20.0  # seconds, of the control loop
STEEPEST = 5e-4  # of the rate; AEC3 loses nothing up to 3e-4 (measured) and starts afresh beyond


class Stamp(NamedTuple):
    """``samples`` have passed a device's converter at ``time``, in seconds of any one clock."""

    samples: int
    time: float


class Reference:
    """Holds what was played until the microphone's samples of the same time are read.

    One thread, the speaker's callback, writes to `played`; another one does everything else.

    Args:
        rate: of what is played, in Hz.
        room: seconds of it that can wait.

    Attributes:
        played: takes every sample that the speaker is given, silence as well.
        correction: by how much of its rate it is resampled faster at the moment.
    """

    def __init__(self, rate: int, room: float) -> None:
        self.played = Ring(round(room * rate))
        self.correction = 0.0
        self._rate = rate
        self._resampler = Resampler(rate, RATE, adjustable=True)
        self._ready = np.zeros(0, np.float32)
        self._position = 0.0  # in `played`, of the next sample that `take` gives
        self._error: float | None = None
        self._drift = 0.0

    def take(
        self, count: int, microphone: Stamp | None, speaker: Stamp | None
    ) -> NDArray[np.float32]:
        """The reference for the next ``count`` samples of the microphone: float32 [count], 16 kHz.

        Args:
            microphone: the first of those samples, counted as sample 0, and when it was heard.
            speaker: how many samples of `played` have left the speaker when. The stamps may be of
                any moment, as long as their times are of the same clock.
        """
        if microphone is not None and speaker is not None:
            self._follow(count / RATE, microphone, speaker)
        elif self._error is None:
            return np.zeros(count, np.float32)
        while len(self._ready) < count and self.played.queued:
            self._fetch(count - len(self._ready))
        now, self._ready = self._ready[:count], self._ready[count:]
        self._position += len(now) * self._step
        return np.pad(now, (0, count - len(now)))

    @property
    def _step(self) -> float:
        return self._rate * (1 + self.correction) / RATE

    def _follow(self, seconds: float, microphone: Stamp, speaker: Stamp) -> None:
        """A proportional-integral controller of the resampling rate, critically damped."""
        heard = speaker.time - (speaker.samples - self._position) / self._rate
        error = heard - (microphone.time - microphone.samples / RATE) - LEAD
        if self._error is None:
            self._shift(error)
            self._error = 0.0
            return
        self._error += (error - self._error) * min(1.0, seconds / SMOOTHING)
        if abs(self._error) > JUMP:
            self._shift(error)
            self._error = 0.0
        self._drift += self._error * seconds / (4 * SETTLING**2)
        self._drift = float(np.clip(self._drift, -STEEPEST, STEEPEST))
        wanted = -self._error / SETTLING - self._drift
        self.correction = float(np.clip(wanted, -STEEPEST, STEEPEST))
        self._resampler.correct(self.correction)

    def _shift(self, error: float) -> None:
        """Lets the reference come ``error`` seconds later; earlier if that is negative."""
        count = round(abs(error) * RATE)
        if error > 0:
            self._ready = np.concatenate([np.zeros(count, np.float32), self._ready])
            self._position -= count * self._step
            return
        while len(self._ready) < count and self.played.queued:
            self._fetch(count - len(self._ready))
        gone = min(count, len(self._ready))
        self._ready = self._ready[gone:]
        self._position += gone * self._step

    def _fetch(self, count: int) -> None:
        """Resamples enough of what was played for ``count`` samples and some more."""
        pcm = np.empty(min(self.played.queued, int(count * self._step) + 1), np.float32)
        self.played.read_into(pcm)
        self._ready = np.concatenate([self._ready, self._resampler.push(pcm)])
