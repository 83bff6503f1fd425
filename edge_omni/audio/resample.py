"""Sampling rates: one resampler (soxr) for whole sounds and for streams."""

import numpy as np
import soxr
from numpy.typing import NDArray

QUALITY = "HQ"  # 20-bit; holds back 22 ms on average in a stream, MQ no less (measured)
ADJUSTABLE = 1e-3  # how far an adjustable stream's rate can be corrected


def resample(pcm: NDArray[np.float32], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """A whole sound, float32 [samples], at another rate."""
    if from_rate == to_rate:
        return pcm
    return np.asarray(soxr.resample(pcm, from_rate, to_rate, QUALITY), dtype=np.float32)


class Resampler:
    """A stream of mono float32 at `from_rate` becomes one at `to_rate`.

    Pushing a sound piece by piece, then flushing, gives what `resample` gives for the whole.

    Args:
        adjustable: the rate can be corrected while the stream goes on.
    """

    def __init__(self, from_rate: int, to_rate: int, *, adjustable: bool = False) -> None:
        self.from_rate = from_rate
        self.to_rate = to_rate
        self._adjustable = adjustable
        self._stream: soxr.ResampleStream | None = None
        self.reset()

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes float32 [n]; returns the samples that are ready, float32 [m], m may be 0."""
        return self._step(pcm, last=False)

    def flush(self) -> NDArray[np.float32]:
        """Ends the stream: returns what was held back and makes ready for another one."""
        rest = self._step(np.zeros(0, dtype=np.float32), last=True)
        self.reset()
        return rest

    def reset(self) -> None:
        """Forgets what was held back."""
        if self._adjustable:
            fastest = self.from_rate * (1 + ADJUSTABLE)
            self._stream = soxr.ResampleStream(
                fastest, self.to_rate, 1, dtype="float32", quality=QUALITY, vr=True
            )
            self.correct(0.0)
        elif self.from_rate != self.to_rate:
            self._stream = soxr.ResampleStream(
                self.from_rate, self.to_rate, 1, dtype="float32", quality=QUALITY
            )

    def correct(self, by: float) -> None:
        """From now on the sound comes at ``from_rate * (1 + by)``; -0.001 to 0.001. Only if
        adjustable."""
        if self._stream is None or not self._adjustable:
            raise ValueError("the rate of this resampler is fixed")
        self._stream.set_io_ratio(self.from_rate * (1 + by), self.to_rate)

    def _step(self, pcm: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        if self._stream is None:
            return pcm
        return np.asarray(self._stream.resample_chunk(pcm, last=last), dtype=np.float32)
