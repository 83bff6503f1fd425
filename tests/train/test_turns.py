"""What the state head learns from, and what its curves tell."""

from __future__ import annotations

import numpy as np
import torch

from train.turns.head import in_a_row
from train.turns.hum import RATE, hum


def test_a_hum_is_short_and_has_the_pitch_of_a_voice() -> None:
    for seed in range(20):
        pcm = hum(np.random.default_rng(seed))
        assert np.isfinite(pcm).all()
        assert 0.1 < len(pcm) / RATE < 1.0
        spectrum = np.abs(np.fft.rfft(pcm[: RATE // 8]))
        loudest = float(spectrum.argmax()) * RATE / min(len(pcm), RATE // 8)
        assert 60 < loudest < 1500  # the fundamental, or a harmonic in the first resonance


def test_a_row_of_judgements_is_as_sure_as_its_least_and_ends_with_its_scene() -> None:
    told = torch.tensor([0.9, 0.2, 0.8, 0.7, 0.6, 0.5])
    scene = torch.tensor([1, 1, 1, 1, 2, 2])
    assert torch.equal(in_a_row(told, scene, 1), told)
    assert torch.equal(in_a_row(told, scene, 2), torch.tensor([0, 0.2, 0.2, 0.7, 0, 0.5]))
    assert torch.equal(in_a_row(told, scene, 3), torch.tensor([0, 0, 0.2, 0.2, 0, 0]))
