"""Listeners' hums: "mm-hmm" and its kin, which voices that read text do not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
HARMONICS = 40
MURMUR = ((250, 90, 0), (1050, 250, -24), (2200, 350, -32))
"""Resonances through the nose: Hz, width in Hz, dB (after Fujimura 1962 on nasal murmurs)."""
VOWEL = ((620, 110, 0), (1200, 150, -7), (2550, 250, -22))
"""Of an open mouth, as in "uh-huh"."""


def hum(dice: np.random.Generator) -> NDArray[np.float32]:
    """One or two syllables: level, rising or falling, with closed lips or open: float32 [n]."""
    pitch = float(np.exp(dice.uniform(np.log(85), np.log(290))))
    tract = pitch**0.22 / 120**0.22 * dice.uniform(0.92, 1.08)  # who is small has a high voice
    resonances = MURMUR if dice.random() < 0.65 else VOWEL
    steps = dice.uniform(-5, 2), dice.uniform(-1, 6)  # semitones over the first, the second
    pieces = [_syllable(pitch, steps[0], tract, resonances, dice)]
    if dice.random() < 0.6:
        breath = dice.standard_normal(int(dice.uniform(0.03, 0.11) * RATE))
        pieces.append(breath * np.abs(pieces[0]).max() * dice.uniform(0.005, 0.08))
        pieces.append(dice.uniform(0.8, 1.5) * _syllable(pitch, steps[1], tract, resonances, dice))
    return np.concatenate(pieces).astype(np.float32)


def _syllable(
    pitch: float,
    step: float,
    tract: float,
    resonances: tuple[tuple[int, int, int], ...],
    dice: np.random.Generator,
) -> NDArray[np.float64]:
    """Harmonics under resonances; the pitch glides by ``step`` semitones, not quite steadily."""
    samples = int(dice.uniform(0.13, 0.42) * RATE)
    wander = np.interp(np.linspace(0, 6, samples), np.arange(7), dice.normal(0, 0.25, 7))
    hertz = pitch * 2 ** ((np.linspace(0, step, samples) + wander) / 12)
    number = np.arange(1, HARMONICS + 1)[:, None]
    places = number * hertz
    loud = np.full_like(places, 10 ** (-50 / 20))
    for centre, width, decibels in resonances:
        near = ((places - centre * tract) / (0.5 * width * dice.uniform(0.8, 1.6))) ** 2
        loud += 10 ** (decibels / 20) / np.sqrt(1 + near)
    loud *= (places < 0.45 * RATE) / number**0.5
    sound = (loud * np.sin(number * np.cumsum(2 * np.pi * hertz / RATE))).sum(0)
    edge = min(int(dice.uniform(0.03, 0.08) * RATE), samples // 2)
    rise = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, edge))
    sound[:edge] *= rise
    sound[-edge:] *= rise[::-1]
    return np.asarray(sound, np.float64)
