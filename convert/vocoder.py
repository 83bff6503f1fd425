"""Export the vocoder: codec tokens in, sound out.

python -m convert.vocoder --work DIR --out models/tiny/vocoder.onnx
"""

from __future__ import annotations

from pathlib import Path

import torch

from convert import waveform
from convert.export import export, rounded

SAMPLE_RATE, SAMPLES = 22050, 512
"""Of the sound; sound samples for each code."""


def write(vocoder: waveform.Vocoder, path: Path) -> None:
    """Write the streaming graph: ``codes`` int64 [1, n] to ``pcm`` float32 [1, 512 n]."""
    rounded(vocoder)
    export(
        vocoder,
        {"codes": torch.zeros(1, 5, dtype=torch.int64)},
        ["pcm"],
        vocoder.first_state(),
        path,
        dynamic={"codes": {1: "n"}},
    )


def settings(vocoder: waveform.Vocoder, silence: int) -> dict[str, int]:
    """The manifest's section ``vocoder``."""
    return {
        "sample_rate": SAMPLE_RATE,
        "samples_per_code": SAMPLES,
        "delay": vocoder.delay,
        "silence": silence,
    }
