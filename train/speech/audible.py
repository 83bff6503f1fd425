"""Which differences between latents can be heard: a metric for the codec.

The voice's waveform decoder turns latents into sound. Where its log-mel spectrum moves with a
latent, a difference matters; where it does not, none. The metric is the mean of J'J, J being the
derivative of the spectrum by one frame of latents (the pull-back of the distance between spectra),
measured with random probes (Hutchinson's estimator).

    python -m train.speech.audible --work DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from convert import waveform
from train.hearing.front_end import HOP, SAMPLE_RATE, WINDOW, LogMel
from train.speech import synthesize
from train.speech.codec import METRIC
from train.speech.synthesize import LATENT_RATE, VOICE

FRAMES, EDGE = 240, 20
"""Latent frames of a probe, and of its edges, which the silence around it reaches."""
SHARE = 0.9
"""Of the metric; the rest treats all latents alike, so that none is lost altogether."""
QUIET = 1e-3
"""Share of the mean power below which a band is not heard."""


def metric(latents: NDArray[np.float16], probes: int, seed: int) -> Tensor:
    """The metric [192, 192] of latents [n, 192], its mean eigenvalue 1."""
    voice, mel = waveform.load(VOICE), LogMel()
    dice = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(seed)
    width = latents.shape[1]
    total = torch.zeros(width, width)
    for start in tqdm(dice.integers(len(latents) - FRAMES, size=probes), desc="audible"):
        piece = torch.from_numpy(latents[start : start + FRAMES].T[None].astype(np.float32))
        piece.requires_grad_(True)
        sound = voice(piece, waveform.Silence())[:, 0]
        spectrum = _heard(mel, _resampled(sound, round(LATENT_RATE * 256)))
        probe = torch.randn(spectrum.shape, generator=noise)
        (slope,) = torch.autograd.grad((probe * spectrum).sum(), piece)
        slope = slope[0, :, EDGE:-EDGE]
        total += slope @ slope.T
    total /= total.trace() / width
    return SHARE * total + (1 - SHARE) * torch.eye(width)


def _resampled(sound: Tensor, rate: int) -> Tensor:
    """Sound [B, n] at the front end's rate, cut off above: exact for whole periods."""
    count = sound.shape[1] * SAMPLE_RATE // rate
    spectrum = torch.fft.rfft(sound)[:, : count // 2 + 1]
    return torch.fft.irfft(spectrum, count) * count / sound.shape[1]


def _heard(mel: LogMel, pcm: Tensor) -> Tensor:
    """Natural logarithm of the mel powers [B, 80, frames], quiet ones levelled."""
    spectrum = functional.conv1d(pcm[:, None], mel.dft, stride=HOP)
    power = mel.filters @ (spectrum**2).view(1, 2, WINDOW // 2 + 1, -1).sum(1)
    return torch.log(power + QUIET * power.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--probes", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted((args.work / "latents").glob("*.npz"))
    chosen = np.random.default_rng(args.seed).permutation(len(paths))[:8]
    latents = np.concatenate([u.latents for i in chosen for u in synthesize.load(paths[i])])
    np.save(args.work / METRIC, metric(latents, args.probes, args.seed).numpy())


if __name__ == "__main__":
    main()
