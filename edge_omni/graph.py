"""Streaming ONNX graphs: one chunk and a state in, one chunk and the next state out.

Every graph of a bundle follows one convention. An input named ``state.NAME`` is fed from the
output ``next_state.NAME`` of the step before; the first state is described in the graph's metadata
under ``edge_omni.state`` as JSON ``{NAME: {"shape": [...], "dtype": "float32", "fill": 0}}``, where
a dimension may be 0 (a cache that grows). All other inputs and outputs are the chunk.

State is explicit and never changed in place: whoever keeps an old state can go back to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_omni.errors import BundleError

State: TypeAlias = Mapping[str, ort.OrtValue]
Value: TypeAlias = "NDArray[Any] | ort.OrtValue"

STATE_KEY = "edge_omni.state"
_INPUT, _OUTPUT = "state.", "next_state."


class Graph:
    """One ONNX graph and the session that runs it.

    Args:
        path: the ``.onnx`` file.
        providers: execution providers in order of preference; those that this build of ONNX
            Runtime lacks are passed over. State stays on the first one's device between steps.
        threads: threads for one step. These graphs are small: one is usually the fastest.

    Raises:
        BundleError: the file is missing, damaged, or does not follow the convention.
    """

    def __init__(
        self,
        path: Path,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 1,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads that spin would take the core from the LLM.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        available = set(ort.get_available_providers())
        chosen = [name for name in providers if name in available] or ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=chosen)
            self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
            self._first = {
                name: _filled(spec)
                for name, spec in json.loads(self.metadata.get(STATE_KEY, "{}")).items()
            }
        except _ONNX_ERRORS as error:
            raise BundleError(
                f"{path} is not a usable ONNX graph ({_first_line(error)}). "
                "Restore the file: `edge-omni bundle verify` tells which files are damaged."
            ) from error
        self.path = path
        self._device = "cuda" if chosen[0] == "CUDAExecutionProvider" else "cpu"
        inputs = [node.name for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        self.inputs = tuple(name for name in inputs if not name.startswith(_INPUT))
        self.outputs = tuple(name for name in outputs if not name.startswith(_OUTPUT))
        self._state_names = tuple(
            name.removeprefix(_INPUT) for name in inputs if name.startswith(_INPUT)
        )
        self._fetch = [*self.outputs, *(_OUTPUT + name for name in self._state_names)]
        unpaired = set(self._state_names) ^ {
            name.removeprefix(_OUTPUT) for name in outputs if name.startswith(_OUTPUT)
        }
        if unpaired or set(self._first) != set(self._state_names):
            raise BundleError(
                f"{path}: the graph's state does not pair up "
                f"({', '.join(sorted(unpaired or set(self._first) ^ set(self._state_names)))}). "
                "Export it again with the matching version of edge-omni."
            )

    def start(self) -> State:
        """The first state, before any chunk."""
        return {
            name: ort.OrtValue.ortvalue_from_numpy(array, self._device)
            for name, array in self._first.items()
        }

    def __call__(self, state: State, **inputs: Value) -> tuple[dict[str, ort.OrtValue], State]:
        """Run one step.

        Args:
            state: from :meth:`start` or from the step before.
            inputs: the chunk, by input name; NumPy arrays, or values that another step returned.

        Returns:
            The outputs by name (``.numpy()`` reads one) and the next state.
        """
        feeds = {name: self._value(value) for name, value in inputs.items()}
        for name in self._state_names:
            feeds[_INPUT + name] = state[name]
        if self._device == "cpu":
            values = self._session.run_with_ort_values(self._fetch, feeds)
        else:
            values = self._run_bound(feeds)
        split = len(self.outputs)
        return (
            dict(zip(self.outputs, values[:split], strict=True)),
            dict(zip(self._state_names, values[split:], strict=True)),
        )

    def _value(self, value: Value) -> ort.OrtValue:
        if isinstance(value, ort.OrtValue):
            return value
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), self._device)

    def _run_bound(self, feeds: Mapping[str, ort.OrtValue]) -> list[ort.OrtValue]:
        """Run with inputs and outputs bound, so that state never leaves the device."""
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._fetch:
            binding.bind_output(name, self._device if name.startswith(_OUTPUT) else "cpu")
        self._session.run_with_iobinding(binding)
        return list(binding.get_outputs())


_ONNX_ERRORS = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidArgument,
    ort.capi.onnxruntime_pybind11_state.InvalidGraph,
    ort.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    ort.capi.onnxruntime_pybind11_state.NoSuchFile,
    ort.capi.onnxruntime_pybind11_state.NotImplemented,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
    json.JSONDecodeError,
    KeyError,
    TypeError,
)


def _filled(spec: Mapping[str, Any]) -> NDArray[Any]:
    return np.full(spec["shape"], spec.get("fill", 0), dtype=np.dtype(spec["dtype"]))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
