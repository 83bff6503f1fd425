"""Whether the graphs do what the modules do: each by itself, and all in a row."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.freeze_omni.encoder import SHIFT, STEP
from convert.freeze_omni.graphs import Streaming
from convert.freeze_omni.model import Model
from edge_omni.graph import Graph

STEPS, CHUNKS, CODES = 6, 20, 50
"""Steps of a graph by itself; chunks of sound that are heard, and codes that are written."""


@dataclass(frozen=True)
class Parity:
    """How far a graph is from its module.

    Attributes:
        largest: the largest difference of two numbers.
        spread: the standard deviation of what the module returns.
        seconds, module_seconds: the fastest step of each, in one thread; None where many graphs
            take part.
    """

    name: str
    largest: float
    spread: float
    seconds: float | None = None
    module_seconds: float | None = None


def alone(streaming: Streaming, path: Path, codes: int, seed: int = 0) -> Parity:
    """One graph on random inputs, its state handed on."""
    torch.set_num_threads(1)
    dice = torch.Generator().manual_seed(seed)
    graph, module = Graph(path), streaming.module
    ours = graph.start()
    theirs = [torch.from_numpy(ours[name].numpy().copy()) for name in streaming.state]
    pairs, times = [], []
    with torch.no_grad():
        for _ in range(STEPS):
            inputs = {
                name: _random(example, codes, dice) for name, example in streaming.inputs.items()
            }
            begin = time.perf_counter()
            outputs, ours = graph(ours, **{name: x.numpy() for name, x in inputs.items()})
            middle = time.perf_counter()
            returned = module(*inputs.values(), *theirs)
            times.append((middle - begin, time.perf_counter() - middle))
            returned = (returned,) if isinstance(returned, Tensor) else returned
            split = len(streaming.outputs)
            theirs = list(returned[split:])
            pairs += [
                (outputs[name].numpy(), value)
                for name, value in zip(streaming.outputs, returned[:split], strict=True)
            ]
    seconds, module_seconds = (min(column) for column in zip(*times, strict=True))
    return replace(_parity(streaming.role, pairs), seconds=seconds, module_seconds=module_seconds)


def _random(example: Tensor, codes: int, dice: torch.Generator) -> Tensor:
    if not example.is_floating_point():
        return torch.randint(codes, example.shape, generator=dice)
    return torch.randn(example.shape, generator=dice) * 0.3


def together(model: Model, folder: Path, seed: int = 0) -> list[Parity]:
    """Hearing, writing and sounding, each through all of its graphs."""
    dice = torch.Generator().manual_seed(seed)
    graphs = {path.stem: Graph(path) for path in folder.glob("*.onnx")}
    with torch.no_grad():
        return [
            _parity("sound to embeddings", _hear(model, graphs, dice)),
            _parity(f"text to scores of {CODES} codes", _write(model, graphs, dice)),
            _parity("codes to sound", _sound(model, graphs, dice)),
        ]


Pairs = list[tuple[NDArray[np.float32], Tensor]]


def _hear(model: Model, graphs: Mapping[str, Graph], dice: torch.Generator) -> Pairs:
    heard, adapted = graphs["encoder"].start(), graphs["adapter"].start()
    encoder = list(model.encoder.first_state().values())
    adapter = list(model.adapter.first_state().values())
    pairs = []
    for pcm in 0.1 * torch.randn(CHUNKS, 1, STEP * SHIFT, generator=dice):
        outputs, heard = graphs["encoder"](heard, pcm=pcm.numpy())
        outputs, adapted = graphs["adapter"](adapted, frames=outputs["frames"])
        frames, *encoder = model.encoder(pcm, *encoder)
        rows, *adapter = model.adapter(frames, *adapter)
        pairs.append((outputs["embeddings"].numpy(), rows))
    return pairs


def _write(model: Model, graphs: Mapping[str, Graph], dice: torch.Generator) -> Pairs:
    llm = model.hearing.model.llm_embed_dim
    decoder, step = model.decoder, graphs["decoder_step"]
    hidden = torch.randn(1, 6, llm, generator=dice)
    embeddings = 0.3 * torch.randn(1, 5, llm, generator=dice)
    state = dict(step.start())
    keys = values = torch.zeros(model.prefix_shape())
    if "decoder_prefix" in graphs:
        outputs, _ = graphs["decoder_prefix"]({}, hidden=hidden.numpy())
        state |= {"keys": outputs["prefix_keys"], "values": outputs["prefix_values"]}
        keys, values = decoder.prefix(hidden)
    outputs, _ = graphs["decoder_text"]({}, embeddings=embeddings.numpy())
    theirs, rows = outputs["rows"].numpy(), decoder.text(embeddings)
    code = torch.zeros(1, 0, dtype=torch.int64)
    position = torch.zeros(1, dtype=torch.int64)
    pairs = []
    for number in range(CODES + 1):
        outputs, state = step(state, rows=theirs, code=code.numpy())
        scores, keys, values, position = decoder.step(rows, code, keys, values, position)
        begin = torch.tensor(model.speaking.odim + 1)
        code = (scores[0].argmax() if number else begin).view(1, 1)
        theirs, rows = theirs[:, :0], rows[:, :0]
        if number:
            pairs.append((outputs["scores"].numpy(), scores))
    return pairs


def _sound(model: Model, graphs: Mapping[str, Graph], dice: torch.Generator) -> Pairs:
    codes = torch.randint(model.codec.n_codes, (1, CODES), generator=dice)
    whole, *_ = model.vocoder(codes, *model.vocoder.first_state().values())
    state, parts = graphs["vocoder"].start(), []
    for part in codes.split(7, 1):
        outputs, state = graphs["vocoder"](state, codes=part.numpy())
        parts.append(outputs["pcm"].numpy())
    return [(np.concatenate(parts, 1), whole)]


def _parity(name: str, pairs: Iterable[tuple[NDArray[np.float32], Tensor]]) -> Parity:
    ours, theirs = zip(*((a.ravel(), b.numpy().ravel()) for a, b in pairs), strict=True)
    a, b = np.concatenate(ours), np.concatenate(theirs)
    return Parity(name, float(np.abs(a - b).max()), float(b.std()))
