"""Export the encoder and the token-synchronous adapter as streaming ONNX graphs.

    python -m convert.hearing BUNDLE --checkpoint RUN/last.pt

Linear layers are stored as 8-bit integers, one scale per output; the front end, convolutions and
attention stay in 32 bits. The token embedding is stored once, for reading tokens in and for
choosing them.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from edge_omni.graph import STATE_KEY
from train.hearing.decoder import Decoder
from train.hearing.encoder import Encoder

OPSET = 18
LIKELY = 8


class EncoderGraph(nn.Module):
    """:meth:`Encoder.step` with its state as a flat list."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.names = list(encoder.first_state())

    def forward(self, pcm: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One chunk."""
        frames, after = self.encoder.step(pcm, dict(zip(self.names, state, strict=True)))
        return (frames, *(after[name] for name in self.names))


class MemoryGraph(nn.Module):
    """Frames to the keys and values that tokens attend to, added to those so far."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer.key_value for layer in decoder.layers)
        self.decoder = [decoder]

    def forward(self, frames: Tensor, memory: Tensor) -> Tensor:
        """frames [1, n, width], memory [layers, 2, 1, heads, T, 64]."""
        return torch.cat([memory, self.decoder[0].memory(frames)], dim=4)


class StepGraph(nn.Module):
    """Tokens in, the likeliest next tokens out."""

    def __init__(
        self, decoder: Decoder, banned: Sequence[int], likely: int, residual: nn.Module | None
    ) -> None:
        super().__init__()
        self.decoder, self.likely, self.residual = decoder, likely, residual
        self.register_buffer("bias", torch.zeros(decoder.sizes.vocabulary))
        self.bias[list(banned)] = -1e4

    def forward(self, tokens: Tensor, memory: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """tokens int64 [1, n]; memory and past [layers, 2, 1, heads, ..., 64]."""
        hidden, after, attention = self.decoder(tokens, memory, past)
        probabilities = (self.decoder.logits(hidden) + self.bias).softmax(-1)
        top, ids = probabilities.topk(self.likely, dim=-1)
        extra = () if self.residual is None else (self.residual(hidden),)
        return (ids, top, hidden, attention, *extra, after)


def export_encoder(encoder: Encoder, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the encoder: ``pcm`` [1, samples] to ``frames`` [1, chunk, width]."""
    state = example = encoder.first_state()
    # Traced with a past, so that no length in it is taken for a constant.
    with torch.no_grad():
        for _ in range(2):
            _, example = encoder.step(torch.zeros(1, encoder.sizes.samples), example)
    example = {name: example[name] for name in state}
    growing = {f"layer{i}": {3: "past"} for i in range(encoder.sizes.layers)}
    _export(
        EncoderGraph(encoder), path,
        {"pcm": torch.zeros(1, encoder.sizes.samples)}, example, ["frames"],
        {**growing, "chunk": {1: "before"}, "frames": {1: "n"}},
        _described(state), metadata,
    )  # fmt: skip


def export_adapter(
    decoder: Decoder,
    folder: Path,
    banned: Sequence[int],
    metadata: Mapping[str, str],
    *,
    residual: nn.Module | None = None,
) -> None:
    """Write ``adapter_memory.onnx`` and ``adapter_step.onnx`` into ``folder``."""
    empty = decoder.first_past()
    frames = torch.randn(1, 4, decoder.sizes.width)
    memory = decoder.memory(frames)
    _export(
        MemoryGraph(decoder), folder / "adapter_memory.onnx", {"frames": frames},
        {"memory": memory}, [], {"frames": {1: "n"}, "memory": {4: "T"}},
        _described({"memory": empty}), metadata,
    )  # fmt: skip
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    outputs = ["top_ids", "top_probs", "hidden", "attention"]
    outputs += [] if residual is None else ["residual"]
    _export(
        StepGraph(decoder, banned, min(LIKELY, decoder.sizes.vocabulary), residual),
        folder / "adapter_step.onnx",
        {"tokens": tokens, "memory": memory}, {"self": decoder(tokens, memory, empty)[1]}, outputs,
        {"tokens": {1: "n"}, "memory": {4: "T"}, "self": {4: "past"}},
        _described({"self": empty}), metadata,
    )  # fmt: skip


def _described(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The first state for the graph's metadata: every tensor in it holds one value throughout."""
    return {
        name: {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "fill": value.flatten()[0].item() if value.numel() else 0,
        }
        for name, value in state.items()
    }


def _export(
    module: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    outputs: Sequence[str],
    growing: Mapping[str, dict[int, str]],
    first: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> None:
    names = [*inputs, *(f"state.{name}" for name in state)]
    axes = {f"state.{name}" if name in state else name: axis for name, axis in growing.items()}
    axes |= {
        f"next_state.{name}": {a: f"next_{d}" for a, d in growing[name].items()}
        for name in state
        if name in growing
    }
    if "tokens" in inputs:
        axes |= {name: {1: "n"} for name in outputs}
        axes["attention"] = {1: "n", 2: "T"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that it follows
        torch.onnx.export(
            module.eval(), (*inputs.values(), *state.values()), str(path), dynamo=False,
            opset_version=OPSET, input_names=names, dynamic_axes=axes,
            output_names=[*outputs, *(f"next_state.{name}" for name in state)],
        )  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {**metadata, STATE_KEY: json.dumps(first)})
    onnx.save(model, str(path))


def quantise(path: Path) -> None:
    """Store the linear layers of a graph as 8-bit integers, in place."""
    model = onnx.load(str(path))
    constants = {item.name: list(item.dims) for item in model.graph.initializer}
    front_end = [
        node.name for node in model.graph.node
        if node.op_type == "MatMul" and node.input[0] in constants
    ]  # fmt: skip
    properties = {item.key: item.value for item in model.metadata_props}
    quantize_dynamic(
        path, path, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=front_end,
        op_types_to_quantize=["MatMul"], extra_options={"WeightSymmetric": True},
    )  # fmt: skip
    model = onnx.load(str(path))
    _share_embedding(model)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, str(path))


def _share_embedding(model: onnx.ModelProto) -> None:
    """Read token embeddings out of the quantised output projection instead of a second copy.

    The projection is [width, vocabulary] with a scale for each token, so that a column times its
    scale is the token's embedding.
    """
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    for node in list(graph.node):
        name = node.input[0] if node.op_type == "Gather" else ""
        if f"{name}_quantized" not in constants:
            continue
        made = [
            onnx.helper.make_node(
                "Gather", [f"{name}_quantized", node.input[1]], ["column"], axis=1
            ),
            onnx.helper.make_node("Cast", ["column"], ["column_float"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Gather", [f"{name}_scale", node.input[1]], ["column_scale"]),
            onnx.helper.make_node("Mul", ["column_float", "column_scale"], list(node.output)),
        ]
        at = list(graph.node).index(node)
        graph.node.remove(node)
        for offset, new in enumerate(made):
            graph.node.insert(at + offset, new)
        if name in constants:
            graph.initializer.remove(constants[name])


def write_tokens(path: Path, spellings: Sequence[bytes], prompt: Sequence[int], end: int) -> None:
    """Write the vocabulary: token strings with one character for each byte (Latin-1)."""
    tokens = [spelling.decode("latin-1") for spelling in spellings]
    content = {"tokens": tokens, "prompt": list(prompt), "end": end}
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")


def main() -> None:
    """Export a training run into a bundle."""
    from train.hearing import distil, whisper
    from train.hearing.data import END, PROMPT
    from train.hearing.vocabulary import SPECIAL, byte_alphabet, spelling

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="without it, Whisper's own weights")
    parser.add_argument("--float", action="store_true", help="keep 32-bit weights")
    options = parser.parse_args()
    model = distil.student()
    if options.checkpoint:
        state = torch.load(options.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
    kept = model.kept
    banned = [kept.index(token) for token in SPECIAL if token != END]
    about = {"edge_omni.source": "Whisper base (MIT), adapted to 320 ms chunks"}
    options.bundle.mkdir(parents=True, exist_ok=True)
    export_encoder(model.encoder, options.bundle / "encoder.onnx", about)
    export_adapter(model.decoder, options.bundle, banned, about)
    for name in () if options.float else ("encoder", "adapter_memory", "adapter_step"):
        quantise(options.bundle / f"{name}.onnx")
    vocabulary, alphabet = whisper.load().vocabulary, byte_alphabet()
    spellings = [
        b"" if token in SPECIAL else spelling(vocabulary[token], alphabet) for token in kept
    ]
    write_tokens(
        options.bundle / "tokens.json", spellings, [kept.index(t) for t in PROMPT], kept.index(END)
    )


if __name__ == "__main__":
    main()
