"""The metric of what can be heard: it tells loud differences of latents from silent ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from convert import waveform
from train.speech import audible, synthesize


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What the voice makes of a sentence of some length."""
    voice = synthesize.Voice(tmp_path_factory.mktemp("voice"))
    said = voice("The quick brown fox jumps over the lazy dog, and the dog does not mind at all.")
    assert said is not None
    return said.latents


def test_a_difference_that_is_heard_is_told_from_one_that_is_not(latents: np.ndarray) -> None:
    metric = audible.metric(latents, probes=8, seed=0)
    values, vectors = torch.linalg.eigh(metric)
    assert torch.allclose(metric, metric.T, atol=1e-5)
    assert float(values.min()) > 0
    assert float(values.mean()) == pytest.approx(1, abs=1e-4)
    assert heard(latents, vectors[:, -1]) > 3 * heard(latents, vectors[:, 0])


def heard(latents: np.ndarray, direction: torch.Tensor) -> float:
    """How much the spectrum moves with the latents."""
    voice, mel = waveform.load(synthesize.VOICE), audible.LogMel()
    piece = torch.from_numpy(latents.T[None].astype(np.float32))
    moved = piece + 0.1 * piece.std() * direction[None, :, None]
    with torch.no_grad():
        sounds = [voice(x, waveform.Silence())[:, 0] for x in (piece, moved)]
    before, after = (audible._heard(mel, audible._resampled(s, 22050)) for s in sounds)
    return float((after - before).square().mean())


def test_the_metric_is_kept_for_the_codec(
    latents: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latents").mkdir()
    durations = np.full(3, 100, np.uint8)
    said = synthesize.Utterance("A fox.", np.zeros(0, np.int16), durations, latents)
    synthesize.save(tmp_path / "latents" / "fox-0000.npz", [said])
    monkeypatch.setattr("sys.argv", ["audible", "--work", str(tmp_path), "--probes", "1"])
    audible.main()
    assert np.load(tmp_path / audible.METRIC).shape == (192, 192)
