"""What all exporters share: torch modules to streaming ONNX graphs with small files.

Weights are kept as fp16 and widened when the session is made: half the bytes, fp32 arithmetic,
and the same speed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

STATE_KEY = "edge_omni.state"


def rounded(module: nn.Module) -> nn.Module:
    """Round the weights in place to what fp16 can hold, as :func:`halved` will."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype == torch.float32:
            tensor.data = tensor.data.half().float()
    return module


def halved(model: onnx.ModelProto, least: int = 256) -> onnx.ModelProto:
    """Keep fp32 weights of at least so many elements as fp16, with a cast behind each."""
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < least:
            kept.append(tensor)
            continue
        name = tensor.name + ".half"
        kept.append(numpy_helper.from_array(array.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*casts, *nodes])
    return model


def export(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    state: Mapping[str, Tensor],
    path: Path,
    *,
    dynamic: Mapping[str, Mapping[int, str]],
) -> None:
    """Write ``module`` as a streaming graph.

    The module is called with the inputs and then the state, each by position, and returns the
    outputs and then the next state in the same order.

    Args:
        inputs: an example of each input.
        state: the first state.
        dynamic: names of the dimensions that vary, by input.
    """
    names = [*inputs, *(f"state.{name}" for name in state)]
    dimensions = {
        name: torch.export.Dim(name, min=1) for d in dynamic.values() for name in d.values()
    }
    shapes = tuple(
        {axis: dimensions[dim] for axis, dim in dynamic.get(name, {}).items()} for name in names
    )
    program = torch.onnx.export(
        module.eval(),
        (*inputs.values(), *state.values()),
        input_names=names,
        output_names=[*outputs, *(f"next_state.{name}" for name in state)],
        dynamic_shapes=_nested(module, shapes),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    if any(tensor.numel() and (tensor != tensor.flatten()[0]).any() for tensor in state.values()):
        raise ValueError("a first state holds one value throughout")
    model = halved(program.model_proto)
    described: dict[str, dict[str, Any]] = {
        name: {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "fill": float(tensor.flatten()[0]) if tensor.numel() else 0.0,
        }
        for name, tensor in state.items()
    }
    helper.set_model_props(model, {STATE_KEY: json.dumps(described)})
    _strip(model)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def _nested(module: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shapes as ``module.forward`` takes them: what is behind a ``*`` belongs together."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    if len(plain) == len(parameters):
        return shapes
    return (*shapes[: len(plain)], shapes[len(plain) :])


def _strip(model: onnx.ModelProto) -> None:
    """Leave out where in the source each node came from: half of a small file."""
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
