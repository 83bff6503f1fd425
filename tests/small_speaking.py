"""A speaking half with random weights, exported as the real one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from convert import decoder, vocoder, waveform
from edge_omni.decoder import SpeechDecoder
from edge_omni.graph import Graph
from edge_omni.vocoder import Vocoder
from train.speech.alphabet import CHARACTERS
from train.speech.codec import Codec
from train.speech.decoder import SpeechDecoder as TorchDecoder

LLM_WIDTH, WIDTH, WINDOW = 12, 32, 16
SILENCE = 3


class Speaking:
    """Torch modules and the folder that holds their graphs."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(1)
        self.folder = folder
        self.decoder = TorchDecoder(
            len(CHARACTERS), 20, hidden=LLM_WIDTH, width=WIDTH, layers=2, window=WINDOW
        ).eval()
        codec = Codec(width=24, bottleneck=8)
        self.vocoder = waveform.Vocoder(codec, waveform.Waveform(channels=(32, 16, 16, 8))).eval()
        decoder.write(self.decoder, folder)
        vocoder.write(self.vocoder, folder / "vocoder.onnx")
        self.settings: dict[str, Any] = decoder.settings(self.decoder)

    def graph(self, name: str) -> Graph:
        return Graph(self.folder / f"{name}.onnx")

    def runtime_decoder(self, **changes: Any) -> SpeechDecoder:
        names = ("decoder_text", "decoder_prefix", "decoder_step")
        return SpeechDecoder(*map(self.graph, names), {**self.settings, **changes})

    def runtime_vocoder(self) -> Vocoder:
        return Vocoder(self.graph("vocoder"), vocoder.settings(self.vocoder, SILENCE))
