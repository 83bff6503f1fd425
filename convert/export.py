"""What all exporters share: torch modules to streaming ONNX graphs with small files.

Weights are kept as fp16 and widened when the session is made: half the bytes, fp32 arithmetic,
and the same speed.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

STATE_KEY = "edge_omni.state"
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
"""How weights are kept: as they are; rounded to half the bytes, with 32-bit arithmetic; or linear
layers multiplied as 8-bit integers with activations scaled as they come, the rest as fp16."""


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
    precision: Precision = "fp16",
    growing: Collection[str] = (),
) -> None:
    """Write ``module`` as a streaming graph.

    The module is called with the inputs and then the state, each by position, and returns the
    outputs and then the next state in the same order.

    Args:
        inputs: an example of each input.
        state: the first state; for what grows, an example.
        dynamic: names of the dimensions that vary, by input.
        precision: of the weights.
        growing: the states whose varying dimension is 0 at first.
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
    model = kept_as(program.model_proto, precision)
    described: dict[str, dict[str, Any]] = {
        name: {
            "shape": [
                0 if name in growing and axis in dynamic.get(f"state.{name}", ()) else size
                for axis, size in enumerate(tensor.shape)
            ],
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


def kept_as(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """``model`` with its weights in this precision."""
    if precision == "fp32":
        return model
    if precision == "int8":
        model = _eight_bits(model)
    return halved(model)


def _eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The linear layers as 8-bit integers, scaled by output, of which 7 bits are used: processors
    that have AVX2 and not VNNI add pairs of products up in 16 bits, which 8 would overflow."""
    planes = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    others = [
        node.name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] not in planes
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_dynamic(
            model, path, ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
            reduce_range=True, nodes_to_exclude=others,
        )  # fmt: skip
        return onnx.load(path)


def _nested(module: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shapes as ``module.forward`` takes them: what is behind a ``*`` belongs together."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    if len(shapes) <= len(plain) or len(plain) == len(parameters):
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
