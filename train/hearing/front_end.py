"""Whisper's log-mel front end as matrix products, so that it can live inside of an ONNX graph.

80 Slaney mel bands of 25 ms windows every 10 ms at 16 kHz (Radford et al. 2022, section 2.2).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
HOP, WINDOW, MELS = 160, 400, 80
# Running maximum of the log-mel before any sound: a little below speech at a usual level
# (the median over the training recordings is 1.1), so that silence alone is not raised to speech.
FLOOR_MAXIMUM = 0.5


def mel_filters(bins: int = WINDOW // 2 + 1, mels: int = MELS) -> NDArray[np.float32]:
    """Slaney's triangular mel filters, area-normalised, as Whisper uses them: [mels, bins]."""

    def to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        linear = mel * 200.0 / 3
        return np.where(mel < 15, linear, 1000.0 * np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    edges = to_hertz(np.linspace(0, top, mels + 2))
    bands = np.linspace(0, SAMPLE_RATE / 2, bins)
    rising = (bands - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bands) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    triangles = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return np.asarray(triangles, dtype=np.float32)


class LogMel(nn.Module):
    """Windowed Fourier transform and mel filters as two matrix products; log10, not normalised."""

    dft: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW // 2 + 1
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(WINDOW)) / WINDOW
        dft = np.concatenate([np.cos(angle), -np.sin(angle)]) * hann
        self.register_buffer("dft", torch.from_numpy(dft[:, None].astype(np.float32)))
        self.register_buffer("filters", torch.from_numpy(mel_filters()))
        # TF32, a GPU's own choice, would drown quiet bands as bfloat16 would (see forward).
        # Not by the newer `conv.fp32_precision`: torch.export fails where only one of them is set.
        torch.backends.cudnn.allow_tf32 = False

    def forward(self, pcm: Tensor) -> Tensor:
        """PCM [B, samples] to log10 mel [B, 80, (samples - 400) // 160 + 1]."""
        # Quiet bands lie 80 dB under loud ones: bfloat16 would drown them.
        with torch.autocast(pcm.device.type, enabled=False):
            spectrum = functional.conv1d(pcm[:, None], self.dft, stride=HOP)
            real, imaginary = spectrum.chunk(2, dim=1)
            power = real * real + imaginary * imaginary
            return torch.log10(torch.clamp(self.filters @ power, min=1e-10))


def normalise(log_mel: Tensor, maximum: Tensor) -> Tensor:
    """Whisper's range: 8 decades under the maximum, scaled to about -1..1.5."""
    return (torch.maximum(log_mel, maximum - 8.0) + 4.0) / 4.0
