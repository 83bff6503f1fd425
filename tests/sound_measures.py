"""What tests measure of sounds."""

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def similarity(reference: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    """Highest correlation of two sounds, over all shifts (0 to 1)."""
    size = len(reference) + len(heard)
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size)), size)
    total = np.cumsum(np.pad(np.square(heard, dtype=np.float64), len(reference)))
    energy = total[len(reference) :] - total[: -len(reference)]
    norm = np.sqrt(np.sum(np.square(reference)) * energy.max())
    return float(np.abs(product).max() / norm)


def loudness(pcm: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(pcm))))


def onsets(times: NDArray[np.float64], pcm: NDArray[np.float32]) -> list[float]:
    """When sounds begin that follow at least half a second of silence.

    Args:
        times: of each sample, in seconds.
        pcm: float32 [samples] at 16 kHz.
    """
    loud = np.flatnonzero(np.abs(pcm) > 0.05)
    first = np.diff(loud, prepend=-RATE) > RATE // 2
    return [float(times[index]) for index in loud[first]]
