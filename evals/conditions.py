"""Sound as it reaches a microphone in rooms and kitchens, from people in a hurry, over a telephone.

A condition is written as ``noise:10`` (decibels of speech above the noise), ``room:0.5`` (seconds
until the echo has died away by 60 dB), ``speed:1.25`` or ``telephone``. The same recording under
the same condition is the same at every run.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from edge_omni.audio import files
from edge_omni.errors import UsageError

RATE = 16_000
Pcm = NDArray[np.float32]
Condition = Callable[[Pcm], Pcm]


def condition(text: str | None, noise: Path | None = None) -> Condition:
    """What ``text`` names, as a function of float32 [samples] at 16 kHz.

    Args:
        noise: a recording, for ``noise``.

    Raises:
        UsageError: there is no such condition, or it lacks the recording.
    """
    kind, _, value = (text or "").partition(":")
    try:
        if not text:
            return lambda pcm: pcm
        if kind == "noise":
            if noise is None:
                raise UsageError("noise:DB needs a recording of noise: --noise FILE.")
            heard = files.read(noise)
            return lambda pcm, level=float(value): mixed(pcm, heard, level)
        if kind == "room":
            return lambda pcm, seconds=float(value): reverberant(pcm, seconds)
        if kind == "speed" and 0.5 <= float(value) <= 2:
            return lambda pcm, factor=float(value): faster(pcm, factor)
        if text == "telephone":
            return telephone
    except ValueError:
        pass
    raise UsageError(f"No condition {text}: noise:DB, room:SECONDS, speed:0.5 to 2, or telephone.")


def mixed(pcm: Pcm, noise: Pcm, decibels: float) -> Pcm:
    """``pcm`` in noise, from a place in it that the recording's length decides."""
    start = 7919 * len(pcm) % max(1, len(noise) - len(pcm))
    behind = np.resize(noise[start:], len(pcm))
    power, loudness = np.mean(np.square(pcm)), np.mean(np.square(behind)) + 1e-12
    return np.float32(pcm + behind * np.sqrt(power / loudness * 10 ** (-decibels / 10)))


def reverberant(pcm: Pcm, seconds: float) -> Pcm:
    """``pcm`` in a room, its direct sound as loud as all echoes together."""
    echo = impulse_response(seconds, int(seconds * RATE))
    size = 1 << (len(pcm) + len(echo)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(echo, size), size)
    return np.clip(wet[: len(pcm)], -1, 1).astype(np.float32)


def impulse_response(seconds: float, seed: int) -> NDArray[np.float64]:
    """A room's, float64 [n] at 16 kHz: the direct sound, then echoes that die away by 60 dB, all
    together as loud as it."""
    count = int(seconds * RATE)
    echo = np.random.default_rng(seed).standard_normal(count)
    echo *= 10 ** (-3 * np.arange(count) / count)
    echo[: RATE // 200] = 0  # the first walls are a little away
    echo /= np.sqrt(np.sum(np.square(echo)) + 1e-12)
    echo[0] = 1.0
    return echo


def faster(pcm: Pcm, factor: float) -> Pcm:
    """``pcm`` played faster: shorter by ``factor``, and higher."""
    return np.asarray(soxr.resample(pcm, RATE * factor, RATE), np.float32)


def telephone(pcm: Pcm) -> Pcm:
    """300 to 3400 Hz of ``pcm``."""
    spectrum = np.fft.rfft(pcm)
    hertz = np.fft.rfftfreq(len(pcm), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    return np.fft.irfft(spectrum, len(pcm)).astype(np.float32)
