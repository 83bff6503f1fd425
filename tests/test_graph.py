"""Streaming graphs: state goes round explicitly, and damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_omni.errors import BundleError
from edge_omni.graph import STATE_KEY, Graph


def remembering_graph(path: Path, state: str = "past", first: str = "past") -> Path:
    """A graph whose state is everything it was given."""
    float_row = [1, None]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, float_row),
        helper.make_tensor_value_info("state.past", TensorProto.FLOAT, float_row),
    ]
    outputs = [
        helper.make_tensor_value_info("total", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info(f"next_state.{state}", TensorProto.FLOAT, float_row),
    ]
    nodes = [
        helper.make_node("Concat", ["state.past", "x"], [f"next_state.{state}"], axis=1),
        helper.make_node("ReduceSum", [f"next_state.{state}", "axes"], ["total"], keepdims=0),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    model = helper.make_model(
        helper.make_graph(nodes, "remembering", inputs, outputs, [axes]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    description = {first: {"shape": [1, 0], "dtype": "float32"}}
    helper.set_model_props(model, {STATE_KEY: json.dumps(description)})
    onnx.save(model, str(path))
    return path


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_state_grows_from_an_empty_first_state(tmp_path: Path) -> None:
    graph = Graph(remembering_graph(tmp_path / "g.onnx"))
    _, state = graph(graph.start(), x=row(1, 2))
    output, state = graph(state, x=row(3))
    assert output["total"].numpy() == [6]
    assert state["past"].numpy().tolist() == [[1, 2, 3]]


def test_an_old_state_is_a_way_back(tmp_path: Path) -> None:
    graph = Graph(remembering_graph(tmp_path / "g.onnx"))
    _, before = graph(graph.start(), x=row(1))
    graph(before, x=row(50))
    output, _ = graph(before, x=row(2))
    assert output["total"].numpy() == [3]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = remembering_graph(tmp_path / "g.onnx")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BundleError, match=r"g\.onnx is not a usable ONNX graph"):
        Graph(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.onnx"):
        Graph(tmp_path / "none.onnx")


@pytest.mark.parametrize("wrong", [{"state": "future"}, {"first": "future"}])
def test_state_that_does_not_pair_up_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(BundleError, match="does not pair up"):
        Graph(remembering_graph(tmp_path / "g.onnx", **wrong))
