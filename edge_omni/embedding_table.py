"""Rows of a GGUF file's token-embedding table, read from the mapped file when they are asked for.

llama.cpp has no call that hands out embedding rows, and ``gguf.GGUFReader`` reads the whole
vocabulary into Python objects first (seconds for 150 000 tokens). Only the place of one tensor is
needed, so the header is walked here and ``gguf.quants`` does the arithmetic.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from edge_omni.errors import LLMError

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_UINT32 = 4


class EmbeddingTable:
    """The input embeddings of an LLM.

    Attributes:
        width: size of one embedding.
        rows: how many tokens there are.
    """

    def __init__(self, path: Path, tensor: str = "token_embd.weight") -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            start, shape, kind = _find_tensor(self._map, tensor)
            self.width, self.rows = shape
            self._kind = GGMLQuantizationType(kind)
            block, block_bytes = GGML_QUANT_SIZES[self._kind]
            row_bytes = self.width // block * block_bytes
            self._data = np.frombuffer(
                self._map, np.uint8, count=self.rows * row_bytes, offset=start
            ).reshape(self.rows, row_bytes)
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise LLMError(
                f"{path} holds no readable token embeddings ({error}). "
                "Fetch the GGUF file again; split files are joined first with llama-gguf-split."
            ) from error

    def __call__(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings of ``tokens``: float32 [n, width]."""
        rows = self._data[np.asarray(tokens, dtype=np.int64)]
        if self._kind == GGMLQuantizationType.F32:
            return rows.view(np.float32)
        if self._kind == GGMLQuantizationType.F16:
            return rows.view(np.float16).astype(np.float32)
        return np.asarray(dequantize(rows, self._kind), dtype=np.float32)


def _find_tensor(data: mmap.mmap, wanted: str) -> tuple[int, tuple[int, int], int]:
    """Byte offset, (width, rows) and quantisation type of a two-dimensional tensor."""
    magic, _version, tensors, keys = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF":
        raise ValueError("not a GGUF file")
    at, alignment = 24, 32
    for _ in range(keys):
        name, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        if name == "general.alignment" and kind == _UINT32:
            (alignment,) = struct.unpack_from("<I", data, at + 4)
        at = _skip(data, at + 4, kind)
    found: tuple[int, tuple[int, int], int] | None = None
    for _ in range(tensors):
        name, at = _string(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dimensions)
        at += 16 + 8 * dimensions
        if name == wanted:
            found = (offset, (shape[0], shape[1]), kind)
    if found is None:
        raise ValueError(f"no tensor {wanted}")
    offset, size, kind = found
    return at + -at % alignment + offset, size, kind


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("the file ends in its header")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _skip(data: mmap.mmap, at: int, kind: int) -> int:
    """The offset after a metadata value."""
    if kind == _STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        return at + 8 + int(length)
    if kind == _ARRAY:
        element, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if element in _SIZES:
            return at + _SIZES[element] * int(count)
        for _ in range(count):
            at = _skip(data, at, element)
        return at
    return at + _SIZES[kind]
