"""A small hearing half with random weights, exported as the real one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert import hearing
from edge_omni.adapter import TokenAdapter
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph
from train.hearing.decoder import Decoder, DecoderSizes
from train.hearing.encoder import Encoder as TorchEncoder
from train.hearing.encoder import EncoderSizes
from train.hearing.residual import Residual

WIDTH, LLM_WIDTH = 128, 12
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


class Letters:
    """An LLM whose tokens are bytes and whose embeddings are fixed random rows."""

    width = LLM_WIDTH

    def __init__(self) -> None:
        self.table = np.random.default_rng(0).standard_normal((256, LLM_WIDTH)).astype(np.float32)

    def tokenize(self, text: bytes) -> list[int]:
        return list(text)

    def embedding_rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return self.table[list(tokens)]


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
        self.residual = Residual(WIDTH, LLM_WIDTH).eval()
        torch.nn.init.normal_(self.residual.outer.weight)
        self.folder = folder
        hearing.export_encoder(self.encoder, folder / "encoder.onnx", {})
        hearing.export_adapter(self.decoder, folder, PROMPT, {})
        hearing.export_residual(self.residual, folder / "residual.onnx")
        hearing.write_tokens(folder / "tokens.json", TEXTS, PROMPT, END)

    def graph(self, name: str) -> Graph:
        return Graph(self.folder / f"{name}.onnx")

    def runtime_encoder(self) -> Encoder:
        return Encoder(self.graph("encoder"), ENCODER)

    def runtime_adapter(
        self, settings: Mapping[str, Any] = SETTINGS, *, residual: bool = False
    ) -> TokenAdapter:
        return TokenAdapter(
            self.graph("adapter_memory"),
            self.graph("adapter_step"),
            Letters(),
            settings,
            self.folder,
            self.graph("residual") if residual else None,
        )


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise that comes and goes: float32 at 16 kHz."""
    samples = int(seconds * 16_000)
    loudness = np.abs(np.sin(np.arange(samples) / 3000))
    hiss = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * loudness * hiss).astype(np.float32)
