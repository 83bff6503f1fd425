"""What the state head learns from, and what its curves tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from train.turns.head import summed
from train.turns.hum import RATE, hum


def test_a_hum_is_short_and_has_the_pitch_of_a_voice() -> None:
    for seed in range(20):
        pcm = hum(np.random.default_rng(seed))
        assert np.isfinite(pcm).all()
        assert 0.1 < len(pcm) / RATE < 1.0
        spectrum = np.abs(np.fft.rfft(pcm[: RATE // 8]))
        loudest = float(spectrum.argmax()) * RATE / min(len(pcm), RATE // 8)
        assert 60 < loudest < 1500  # the fundamental, or a harmonic in the first resonance


def test_evidence_adds_up_as_in_the_dialogue_and_starts_anew_with_each_scene() -> None:
    told = torch.tensor([0.9, 0.2, 0.8, 0.7, 0.6, 0.5])
    scene = torch.tensor([1, 1, 1, 1, 2, 2])
    sums = summed(told, scene, 0.6)
    above = [math.log(p / (1 - p)) - math.log(0.6 / 0.4) for p in told.tolist()]
    expected = [above[0], 0.0, above[2], above[2] + above[3], 0.0, 0.0]
    assert sums.tolist() == pytest.approx(expected, abs=1e-5)
