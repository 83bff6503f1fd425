"""Export the encoder and the word-synchronous adapter as streaming ONNX graphs.

    python -m convert.hearing BUNDLE --checkpoint RUN/last.pt

Linear layers are stored as 8-bit integers in small blocks; the front end, convolutions and
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

import numpy as np
import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
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

    def __init__(self, decoder: Decoder, banned: Sequence[int], likely: int) -> None:
        super().__init__()
        self.decoder, self.likely = decoder, likely
        self.register_buffer("bias", torch.zeros(decoder.sizes.vocabulary))
        self.bias[list(banned)] = -1e4

    def forward(self, tokens: Tensor, memory: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """tokens int64 [1, n]; memory and past [layers, 2, 1, heads, ..., 64]."""
        hidden, after, attention = self.decoder(tokens, memory, past)
        probabilities = (self.decoder.logits(hidden) + self.bias).softmax(-1)
        top, ids = probabilities.topk(self.likely, dim=-1)
        return ids, top, hidden, attention, after


def export_encoder(encoder: Encoder, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the encoder: ``pcm`` [1, samples] to ``frames`` [1, chunk, width]."""
    state = example = encoder.first_state()
    # Traced with a past, so that no length in it is taken for a constant.
    with torch.no_grad():
        for _ in range(encoder.sizes.ahead + 1):
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
    decoder: Decoder, folder: Path, banned: Sequence[int], metadata: Mapping[str, str]
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
    _export(
        StepGraph(decoder, banned, min(LIKELY, decoder.sizes.vocabulary)),
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


def quantise(path: Path, block: int = 64) -> None:
    """Store the linear layers of a graph as 8-bit integers, in place.

    Weights have one scale for each ``block`` of inputs, and so do the activations when they are
    multiplied: one scale for a whole tensor lost three times as much. ONNX Runtime runs such layers
    since version 1.22.
    """
    model = onnx.load(str(path))
    constants = {item.name for item in model.graph.initializer}
    front_end = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[0] in constants
    ]
    quantiser = MatMulNBitsQuantizer(
        model, bits=8, block_size=block, is_symmetric=True, accuracy_level=4,
        nodes_to_exclude=front_end,
    )  # fmt: skip
    quantiser.process()
    model = quantiser.model.model
    _share_embedding(model.graph, block)
    onnx.save(model, str(path))


def _share_embedding(graph: onnx.GraphProto, block: int) -> None:
    """Read token embeddings out of the quantised output projection instead of a second copy.

    The projection is stored as [vocabulary, blocks, block] with scales [vocabulary, blocks], zero
    at 128: a row times its scales is the token's embedding.
    """
    constants = {item.name: item for item in graph.initializer}
    for at, node in enumerate(graph.node):
        name = node.input[0] if node.op_type == "Gather" else ""
        if f"{name}_Q8" not in constants:
            continue
        width = constants[name].dims[0]
        for key, value in (
            ("zero", np.float32(128)),
            ("column", np.array([-1], np.int64)),
            ("shape", np.array([0, 0, width], np.int64)),
        ):
            graph.initializer.append(onnx.numpy_helper.from_array(value, f"embedding_{key}"))
        make, tokens = onnx.helper.make_node, node.input[1]
        steps = [
            make("Gather", [f"{name}_Q8", tokens], ["embedding_stored"], axis=0),
            make("Cast", ["embedding_stored"], ["embedding_cast"], to=onnx.TensorProto.FLOAT),
            make("Sub", ["embedding_cast", "embedding_zero"], ["embedding_whole"]),
            make("Gather", [f"{name}_scales", tokens], ["embedding_scale"], axis=0),
            make("Unsqueeze", ["embedding_scale", "embedding_column"], ["embedding_scales"]),
            make("Mul", ["embedding_whole", "embedding_scales"], ["embedding_blocks"]),
            make("Reshape", ["embedding_blocks", "embedding_shape"], ["embedding_rows"]),
            make("Transpose", ["embedding_rows"], list(node.output), perm=[2, 0, 1]),
        ]
        graph.node.remove(node)
        for offset, step in enumerate(steps):
            graph.node.insert(at + offset, step)
        graph.initializer.remove(constants[name])
        return


def write_tokens(path: Path, spellings: Sequence[bytes], prompt: Sequence[int], end: int) -> None:
    """Write the vocabulary: token strings with one character for each byte (Latin-1)."""
    tokens = [spelling.decode("latin-1") for spelling in spellings]
    content = {"tokens": tokens, "prompt": list(prompt), "end": end}
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")


def main() -> None:
    """Export a training run into a bundle."""
    from train import checkpoint
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
        model.load_state_dict(checkpoint.read(options.checkpoint)["model"])
    kept = model.kept
    banned = [kept.index(token) for token in SPECIAL if token != END]
    about = {"edge_omni.source": "Whisper base (MIT), adapted to 320 ms chunks"}
    options.bundle.mkdir(parents=True, exist_ok=True)
    export_encoder(model.encoder, options.bundle / "encoder.onnx", about)
    export_adapter(model.decoder, options.bundle, banned, about)
    for name in () if options.float else ("encoder", "adapter_memory", "adapter_step"):
        quantise(options.bundle / f"{name}.onnx", 32 if name == "encoder" else 64)
    vocabulary, alphabet = whisper.load().vocabulary, byte_alphabet()
    spellings = [
        b"" if token in SPECIAL else spelling(vocabulary[token], alphabet) for token in kept
    ]
    write_tokens(
        options.bundle / "tokens.json", spellings, [kept.index(t) for t in PROMPT], kept.index(END)
    )


if __name__ == "__main__":
    main()
