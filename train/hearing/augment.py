"""Rooms, noise, other voices and narrow bands added to a recording without moving it in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.hearing.front_end import SAMPLE_RATE

Pcm = NDArray[np.float32]


def augment(pcm: Pcm, others: Sequence[Pcm], dice: np.random.Generator) -> Pcm:
    """One random version of ``pcm`` [n]; ``others`` are recordings to use as what is behind it."""
    heard = pcm
    if dice.random() < 0.2:
        heard = reverberate(heard, dice)
    if dice.random() < 0.5:
        heard = mix(heard, background(len(heard), others, dice), dice.uniform(2, 25))
    if dice.random() < 0.1:
        heard = band_limit(heard, dice.uniform(100, 350), dice.uniform(3000, 6000))
    gain = 10 ** (dice.uniform(-14, 5) / 20)
    return np.clip(heard * gain, -1, 1).astype(np.float32)


def background(samples: int, others: Sequence[Pcm], dice: np.random.Generator) -> Pcm:
    """What may be heard behind a speaker: hiss and rumble, a clatter over them, or people."""
    kind = dice.random()
    if kind < 0.25:
        return babble(samples, others, dice)
    noise = coloured_noise(samples, dice)
    if kind < 0.5:
        return noise
    noise *= _swell(samples, dice)
    return mix(clatter(samples, dice), noise, dice.uniform(-5, 15)) if kind < 0.8 else noise


def babble(samples: int, others: Sequence[Pcm], dice: np.random.Generator) -> Pcm:
    """Several recordings at once, each from a random place; more of them are less like speech."""
    chosen = dice.integers(len(others), size=dice.integers(1, 7))
    voices = [np.roll(np.resize(others[i], samples), dice.integers(samples)) for i in chosen]
    return np.sum([voice / (np.std(voice) + 1e-5) for voice in voices], 0, dtype=np.float32)


def clatter(samples: int, dice: np.random.Generator) -> Pcm:
    """Things that knock and ring: a few decaying resonances at random times, as of dishes."""
    sound = np.zeros(samples, np.float32)
    for _ in range(1 + dice.poisson(samples / SAMPLE_RATE * dice.uniform(0.5, 5))):
        start, length = int(dice.integers(samples)), int(dice.uniform(0.02, 0.4) * SAMPLE_RATE)
        time = np.arange(min(length, samples - start))
        hertz, loud = dice.uniform(300, 7000, 4), dice.exponential(1, 4)
        rings = loud[:, None] * np.sin(2 * np.pi / SAMPLE_RATE * hertz[:, None] * time)
        sound[start : start + len(time)] += rings.sum(0) * np.exp(-6.9 * time / length)
    return sound


def _swell(samples: int, dice: np.random.Generator) -> Pcm:
    """Loudness that wanders between about a third and three times the mean."""
    points = np.exp(
        0.6 * dice.standard_normal(2 + int(samples / SAMPLE_RATE * dice.uniform(0.5, 4)))
    )
    places = np.linspace(0, len(points) - 1, samples)
    return np.interp(places, np.arange(len(points)), points).astype(np.float32)


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


def band_limit(pcm: Pcm, low: float, high: float) -> Pcm:
    """What is between two frequencies in Hz, as over a telephone or from a cheap microphone."""
    spectrum = np.fft.rfft(pcm)
    hertz = np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(pcm)).astype(np.float32)


def reverberate(pcm: Pcm, dice: np.random.Generator) -> Pcm:
    """The direct sound plus an exponentially decaying tail of a random room."""
    decay = dice.uniform(0.1, 0.6)
    samples = int(decay * SAMPLE_RATE)
    tail = dice.standard_normal(samples) * np.exp(-6.9 * np.arange(samples) / samples)
    tail[: int(0.003 * SAMPLE_RATE)] = 0
    tail *= dice.uniform(0.2, 0.9) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(pcm) + samples).bit_length()
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[: len(pcm)]
    return wet.astype(np.float32)
