"""Export the speech decoder: pre-network, prefix network and one step of the writer.

python -m convert.decoder --work DIR --out models/tiny
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from convert.export import export, rounded
from train.speech.alphabet import CHARACTERS
from train.speech.decoder import BEGIN, SpeechDecoder, Writer

LONGEST_SLOT = 24.0
"""Codes that one slot may last at most (0.56 s): what bounds the length of the speech."""


class Text(nn.Module):
    """The pre-network as the runtime needs it."""

    def __init__(self, decoder: SpeechDecoder) -> None:
        super().__init__()
        self.text, self.frames = decoder.text, decoder.frames

    def forward(self, characters: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Characters [1, n] and 0 1 2 ... [T] to features [1, T, width] and durations [1, n]."""
        slots, durations = self.text(characters)
        durations = durations.clamp_max(LONGEST_SLOT)
        features = self.frames(slots, durations, steps)
        return features, durations.reshape(1, -1, 2).sum(2)


class Prefix(nn.Module):
    """The prefix network without padding."""

    def __init__(self, decoder: SpeechDecoder) -> None:
        super().__init__()
        self.prefix = decoder.prefix

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [1, n, hidden] to keys and values [layers, heads, n, size]."""
        keys, values = self.prefix(hidden, torch.zeros_like(hidden[:, None, None, :, 0]))
        return keys[:, 0], values[:, 0]


class Step(nn.Module):
    """One step of the writer, its outputs in the order of the graph."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def forward(
        self,
        code: Tensor,
        feature: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, ...]:
        """See :meth:`train.speech.decoder.Writer.step`."""
        return self.writer.step(code, feature, prefix_keys, prefix_values, keys, values, mask)


def first_state(writer: Writer) -> dict[str, Tensor]:
    """The cache before the first code."""
    width = writer.embedding.embedding_dim
    shape = (len(writer.layers), writer.heads, writer.window - 1, width // writer.heads)
    return {
        "keys": torch.zeros(shape),
        "values": torch.zeros(shape),
        "mask": torch.full((writer.window - 1,), -1e4),
    }


def write(decoder: SpeechDecoder, folder: Path) -> None:
    """Write ``decoder_text.onnx``, ``decoder_prefix.onnx`` and ``decoder_step.onnx``."""
    rounded(decoder).eval()
    writer = decoder.writer
    width = writer.embedding.embedding_dim
    export(
        Text(decoder),
        {"characters": torch.ones(1, 7, dtype=torch.int64), "steps": torch.arange(11)},
        ["features", "durations"],
        {},
        folder / "decoder_text.onnx",
        dynamic={"characters": {1: "n"}, "steps": {0: "t"}},
    )
    count_steps(folder / "decoder_text.onnx")
    write_prefix(decoder, folder / "decoder_prefix.onnx")
    state = first_state(writer)
    layers, heads, _, size = state["keys"].shape
    export(
        Step(writer),
        {
            "code": torch.zeros(1, 1, dtype=torch.int64),
            "feature": torch.zeros(1, 1, width),
            "prefix_keys": torch.zeros(layers, heads, 3, size),
            "prefix_values": torch.zeros(layers, heads, 3, size),
        },
        ["scores"],
        state,
        folder / "decoder_step.onnx",
        dynamic={"prefix_keys": {2: "p"}, "prefix_values": {2: "p"}},
    )


def write_prefix(decoder: SpeechDecoder, path: Path) -> None:
    """Write the prefix network, which belongs to one LLM."""
    rounded(decoder.prefix).eval()
    export(
        Prefix(decoder),
        {"hidden": torch.randn(1, 5, decoder.prefix.enter[0].normalized_shape[0])},
        ["prefix_keys", "prefix_values"],
        {},
        path,
        dynamic={"hidden": {1: "n"}},
    )


def count_steps(path: Path) -> None:
    """Let the graph count the codes itself: as many as the durations sum up to, at least one."""
    model = onnx.load(path)
    graph = model.graph
    constants = {
        "steps.half": np.float32(-0.5),
        "steps.one": np.int64(1),
        "steps.zero": np.int64(0),
    }
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    nodes = [
        helper.make_node("ReduceSum", ["durations"], ["steps.sum"], keepdims=0),
        helper.make_node("Add", ["steps.sum", "steps.half"], ["steps.less"]),
        helper.make_node("Ceil", ["steps.less"], ["steps.ceil"]),
        helper.make_node("Cast", ["steps.ceil"], ["steps.count"], to=TensorProto.INT64),
        helper.make_node("Max", ["steps.count", "steps.one"], ["steps.some"]),
        helper.make_node("Range", ["steps.zero", "steps.some", "steps.one"], ["steps"]),
    ]
    kept = [value for value in graph.input if value.name != "steps"]
    del graph.input[:]
    graph.input.extend(kept)
    # What needs the steps comes after what the durations are made of.
    late = {"steps"}
    before, after = [], []
    for node in graph.node:
        if late & set(node.input):
            late.update(node.output)
            after.append(node)
        else:
            before.append(node)
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])
    onnx.checker.check_model(model)
    onnx.save(model, path)


def settings(decoder: SpeechDecoder, top_k: int = 2, temperature: float = 1.0) -> dict[str, object]:
    """The manifest's section ``decoder``."""
    keys = first_state(decoder.writer)["keys"]
    return {
        "characters": CHARACTERS,
        "begin": BEGIN,
        "top_k": top_k,
        "temperature": temperature,
        "longest_text": 180,
        "block": 8,
        "prefix_shape": [keys.shape[0], keys.shape[1], 0, keys.shape[3]],
    }
