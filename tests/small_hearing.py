"""A small hearing half with random weights, exported as the real one is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert import hearing
from edge_omni.adapter import WordAdapter
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph
from train.hearing.decoder import Decoder, DecoderSizes
from train.hearing.encoder import Encoder as TorchEncoder
from train.hearing.encoder import EncoderSizes

WIDTH = 128
ENCODER = {"chunk": 5120, "frame": 320, "width": WIDTH, "provisional": 32}
SETTINGS: dict[str, Any] = {
    "vocabulary": "tokens.json",
    "margin": 6,
    "settle": 150,
    "pause": 40,
    "segment": 700,
    "longest": 1100,
}
WORDS = [b" the", b" cat", b" sat", b" on", b"ly", b".", b"?", b" mat", b" Is", b" it"]
PROMPT, END = [0, 1], 2
TEXTS = [b"", b"", b"", *WORDS]


class Parts:
    """Torch modules and the folder that holds their graphs.

    Positions and context are so short that ten seconds of sound go round both.
    """

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(1)
        sizes = EncoderSizes(width=WIDTH, layers=2, positions=100, context=48, ahead=2)
        self.encoder = TorchEncoder(sizes).eval()
        self.decoder = Decoder(
            DecoderSizes(width=WIDTH, layers=2, positions=448, vocabulary=len(TEXTS)),
            [(0, 1), (1, 0)],
        ).eval()
        self.folder = folder
        hearing.export_encoder(self.encoder, folder / "encoder.onnx", {})
        hearing.export_adapter(self.decoder, folder, PROMPT, {})
        hearing.write_tokens(folder / "tokens.json", TEXTS, PROMPT, END)

    def graph(self, name: str) -> Graph:
        return Graph(self.folder / f"{name}.onnx")

    def runtime_encoder(self) -> Encoder:
        return Encoder(self.graph("encoder"), ENCODER)

    def runtime_adapter(self, settings: Mapping[str, Any] = SETTINGS) -> WordAdapter:
        return WordAdapter(
            self.graph("adapter_memory"), self.graph("adapter_step"), settings, self.folder
        )


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise that comes and goes: float32 at 16 kHz."""
    samples = int(seconds * 16_000)
    loudness = np.abs(np.sin(np.arange(samples) / 3000))
    hiss = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * loudness * hiss).astype(np.float32)
