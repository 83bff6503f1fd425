"""Go on from a bundle: the weights of its hearing graphs, back in the modules they came from.

So a bundle is its own checkpoint. Linear layers come back from 8-bit blocks (see
:func:`convert.hearing.quantise`), which changes no caption that was measured; the rest is exact.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_PARTS = {"encoder": "encoder.", "adapter_memory": "decoder.", "adapter_step": ""}
_ZERO = 128


def load(bundle: Path, model: nn.Module) -> None:
    """Fill ``model`` (:class:`train.hearing.distil.Student`) from the graphs of ``bundle``.

    Raises:
        ValueError: the graphs lack a weight of the model, or it has another shape.
    """
    found: dict[str, Tensor] = {}
    for graph, prefix in _PARTS.items():
        for name, array in _weights(bundle / f"{graph}.onnx").items():
            if graph == "adapter_memory":
                layer, kind = name.rsplit(".", 1)
                name = f"{layer}.key_value.{kind}"
            elif graph == "encoder":
                name = name.removeprefix("encoder.")
            found[prefix + name] = torch.from_numpy(np.array(array, np.float32))
    wanted = model.state_dict()
    wrong = [n for n, value in wanted.items() if n not in found or found[n].shape != value.shape]
    if wrong:
        raise ValueError(f"{bundle} lacks or has in another shape: {', '.join(wrong)}")
    model.load_state_dict({name: found[name] for name in wanted})


def _weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of one graph by the name of their module."""
    graph = onnx.load(str(path)).graph
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    found = {name: value for name, value in constants.items() if "." in name}
    for node in graph.node:
        if node.op_type != "MatMulNBits":
            continue
        stored = node.input[1].removesuffix("_Q8")
        rows = constants[node.input[1]].astype(np.float32) - _ZERO
        rows *= constants[node.input[2]].reshape(*rows.shape[:2], 1)
        weight = rows.reshape(len(rows), -1)
        if "." in stored:  # a parameter of its own, in the layout that it is multiplied in
            found[stored] = weight.T
        else:
            module = node.name.removesuffix("/MatMul_Q8").strip("/").replace("/", ".")
            found[f"{module}.weight"] = weight
    return found
