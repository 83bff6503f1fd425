"""Go on from a bundle: the weights of its speaking graphs, back in the modules they came from.

The graphs hold what talking needs. What only training needs is not in them: the codec's encoder,
the text network's units and the decoder's guess; those are learnt anew around the rest, in minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

REACH = 24
DECODER = ("decoder_text", "decoder_prefix", "decoder_step")
ANEW = ("codec.encoder.", "text.units.", "guess.", "codec.quantiser.count", "codec.quantiser.total")


def fill(model: nn.Module, bundle: Path, prefix: str = "") -> list[str]:
    """Fill ``model`` from the graphs of ``bundle``.

    Args:
        prefix: of the model's names in the graphs: "" for the whole speech decoder, "text." for
            its text network, "codec." for the codec.

    Returns:
        The names of the parameters that were filled.

    Raises:
        ValueError: the graphs lack a weight of the model, or it has another shape.
    """
    found: dict[str, Tensor] = {}
    for graph in ("vocoder",) if prefix == "codec." else DECODER:
        found |= weights(bundle / f"{graph}.onnx")
    state = model.state_dict()
    wanted = {name: prefix + name for name in state if not (prefix + name).startswith(ANEW)}
    wrong = [
        name for name, full in wanted.items()
        if full not in found or found[full].shape != state[name].shape
    ]  # fmt: skip
    if wrong:
        raise ValueError(f"{bundle} lacks or has in another shape: {', '.join(wrong)}")
    model.load_state_dict({**state, **{name: found[full] for name, full in wanted.items()}})
    return list(wanted)


def weights(path: Path) -> dict[str, Tensor]:
    """The weights of one graph by their names in the modules.

    The exporter keeps the names of most parameters. It renames what it transposes: the weights of
    linear layers, which the names of their biases tell, and the biases of distances, which stand in
    the order of the layers.
    """
    graph = onnx.load(str(path)).graph
    constants: dict[str, NDArray[np.float32]] = {}
    for item in graph.initializer:
        array = onnx.numpy_helper.to_array(item)
        constants[item.name.removesuffix(".half")] = array.astype(np.float32)
    found = {name: value for name, value in constants.items() if "." in name}
    users = {name: node for node in graph.node for name in node.input}
    layers = [name for name in found if name.endswith("qkv.bias")]
    distances = []
    for node in graph.node:
        weight = next((n for n in node.input[1:] if n in constants and n not in found), None)
        if node.op_type == "MatMul" and weight is not None:
            add = users[node.output[0]]
            bias = next(name for name in add.input if name in found)
            found[bias.removesuffix("bias") + "weight"] = constants[weight].T
    for name, value in constants.items():
        if name.startswith("val_") and value.ndim == 2 and value.shape[0] == 2 * REACH + 1:
            distances.append(value.T)
        elif name.startswith("unsqueeze"):
            distances.append(value[0, :, 0, ::-1])
        elif value.ndim == 2 and path.stem == "vocoder" and name.startswith("val_"):
            found["codec.quantiser.book"] = value
    for layer, distance in zip(layers, distances, strict=True):
        found[layer.removesuffix("qkv.bias") + "bias"] = distance
    return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}
