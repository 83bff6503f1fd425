"""Rooms, noise and other voices added to a recording without moving it in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.hearing.front_end import SAMPLE_RATE

Pcm = NDArray[np.float32]


def augment(pcm: Pcm, other: Pcm, dice: np.random.Generator) -> Pcm:
    """One random version of ``pcm`` [n]; ``other`` is a recording to use as a voice behind it."""
    heard = pcm
    if dice.random() < 0.12:
        heard = reverberate(heard, dice)
    if dice.random() < 0.25:
        heard = mix(heard, coloured_noise(len(heard), dice), dice.uniform(8, 30))
    if dice.random() < 0.05:
        heard = mix(heard, np.resize(other, len(heard)), dice.uniform(10, 25))
    gain = 10 ** (dice.uniform(-14, 5) / 20)
    return np.clip(heard * gain, -1, 1).astype(np.float32)


def coloured_noise(samples: int, dice: np.random.Generator) -> Pcm:
    """Noise whose power falls with a random power of frequency: hiss to rumble."""
    spectrum = np.fft.rfft(dice.standard_normal(samples))
    slope = dice.uniform(0, 1.2)
    spectrum /= np.maximum(np.arange(len(spectrum)), 20 * samples / SAMPLE_RATE) ** slope
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def mix(pcm: Pcm, noise: Pcm, decibels: float) -> Pcm:
    """``pcm`` with ``noise`` at a signal-to-noise ratio."""
    power = float(np.mean(pcm**2)) + 1e-9
    scale = np.sqrt(power / (float(np.mean(noise**2)) + 1e-9) * 10 ** (-decibels / 10))
    return (pcm + scale * noise).astype(np.float32)


def reverberate(pcm: Pcm, dice: np.random.Generator) -> Pcm:
    """The direct sound plus an exponentially decaying tail of a random room."""
    decay = dice.uniform(0.1, 0.45)
    samples = int(decay * SAMPLE_RATE)
    tail = dice.standard_normal(samples) * np.exp(-6.9 * np.arange(samples) / samples)
    tail[: int(0.003 * SAMPLE_RATE)] = 0
    tail *= dice.uniform(0.2, 0.9) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(pcm) + samples).bit_length()
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[: len(pcm)]
    return wet.astype(np.float32)
