"""The modules as streaming graphs that fit the runtime's contract."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from convert.export import Precision, export
from convert.freeze_omni.codec import folded
from convert.freeze_omni.encoder import SHIFT, STEP
from convert.freeze_omni.model import Model

CLASSES = 3
"""States of the runtime: go on listening, answer, nothing to answer."""


@dataclass(frozen=True)
class Streaming:
    """A graph to be, with the arguments of :func:`convert.export.export`."""

    role: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    state: Mapping[str, Tensor] = field(default_factory=dict)
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    growing: Collection[str] = ()

    def write(self, path: Path, precision: Precision) -> None:
        """Write the graph with its weights in this precision."""
        export(
            self.module, self.inputs, self.outputs, self.state, path,
            dynamic=self.dynamic, precision=precision, growing=self.growing,
        )  # fmt: skip


class Method(nn.Module):
    """A method of a module as a module of its own."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the method returns."""
        outputs: Tensor | tuple[Tensor, ...] = getattr(self.module, self.name)(*inputs)
        return outputs


class StateHead(nn.Module):
    """The LLM's hidden state [1, llm_width] behind what was heard, to probabilities [1, 3].

    As in the reference the last class is left out; any between the third and it mean listening.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, heard: Tensor) -> Tensor:
        """Go on listening, answer, nothing to answer."""
        p = self.linear(heard)[:, :-1].softmax(-1)
        listen = p[:, :1] + p[:, CLASSES:].sum(-1, keepdim=True)
        return torch.cat([listen, p[:, 1:CLASSES]], 1)


class Prompt(nn.Module):
    """Learnt embeddings that stand in front of what is heard."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self) -> Tensor:
        """float32 [n, llm_width]."""
        return self.rows * 1.0


def graphs(model: Model) -> Iterator[Streaming]:
    """All graphs of a checkpoint."""
    yield from _hearing(model)
    yield from _speaking(model)


def _hearing(model: Model) -> Iterator[Streaming]:
    encoder, adapter = model.encoder, model.adapter
    width, llm = encoder.sizes.width, model.hearing.model.llm_embed_dim
    pcm = torch.zeros(1, STEP * SHIFT)
    yield Streaming("encoder", encoder, {"pcm": pcm}, ["frames"], encoder.first_state())
    frames = {"frames": torch.zeros(1, 2 * encoder.sizes.chunk, width)}
    yield Streaming(
        "adapter", adapter, frames, ["embeddings"], adapter.first_state(),
        {"frames": {1: "n"}},
    )  # fmt: skip
    heard = {"heard": torch.zeros(1, llm)}
    yield Streaming("state_head", StateHead(model.state_head), heard, ["probabilities"])
    if model.prompt is not None:
        yield Streaming("prompt", Prompt(model.prompt), {}, ["embeddings"])


def _speaking(model: Model) -> Iterator[Streaming]:
    decoder, vocoder = model.decoder, model.vocoder
    sizes, llm = decoder.sizes, model.hearing.model.llm_embed_dim
    rows, past = torch.zeros(1, 3, llm), torch.zeros(model.prefix_shape(7))
    if sizes.prefix:
        yield Streaming(
            "decoder_prefix", Method(decoder, "prefix"), {"hidden": rows},
            ["prefix_keys", "prefix_values"], {}, {"hidden": {1: "n"}},
        )  # fmt: skip
    yield Streaming(
        "decoder_text", Method(decoder, "text"), {"embeddings": rows}, ["rows"], {},
        {"embeddings": {1: "n"}},
    )  # fmt: skip
    read = torch.zeros(1, 3, sizes.width)
    yield Streaming(
        "decoder_step", Method(decoder, "step"),
        {"rows": read, "code": torch.zeros(1, 2, dtype=torch.int64)}, ["scores"],
        {"keys": past, "values": past + 0, "position": torch.zeros(1, dtype=torch.int64)},
        {
            "rows": {1: "m"}, "code": {1: "n"},
            "state.keys": {2: "t"}, "state.values": {2: "t"},
        },
        ["keys", "values"],
    )  # fmt: skip
    codes = {"codes": torch.zeros(1, 5, dtype=torch.int64)}
    yield Streaming(
        "vocoder", folded(vocoder), codes, ["pcm"], vocoder.first_state(), {"codes": {1: "n"}}
    )
