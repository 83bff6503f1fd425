"""Rows of a GGUF file's token-embedding table, read from the mapped file when they are asked for.

llama.cpp has no call that hands out embedding rows. ``gguf.quants`` does the arithmetic.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from edge_omni.errors import LLMError
from edge_omni.gguf_file import GGUFFile


class EmbeddingTable:
    """The input embeddings of an LLM, as they stand in its file.

    Attributes:
        width: size of one embedding.
        problem: why rows cannot be had, if so; asking for them is then an error.

    Raises:
        LLMError: there is no such table, or the file is cut off.
    """

    def __init__(self, file: GGUFFile, tensor: str = "token_embd.weight") -> None:
        place = file.tensors.get(tensor)
        if place is None or len(place.shape) != 2:
            raise LLMError(f"{file.shards[0]} holds no token embeddings: it is no LLM.")
        self.width, self._rows = place.shape
        self.problem: str | None = None
        self._path = place.path
        try:
            self._kind = GGMLQuantizationType(place.kind)
            block, block_bytes = GGML_QUANT_SIZES[self._kind]
        except (ValueError, KeyError):
            self.problem = f"the quantisation of its embeddings (number {place.kind}) is unknown"
            return
        row_bytes = self.width // block * block_bytes
        try:
            with place.path.open("rb") as opened:
                self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            self._data = np.frombuffer(
                self._map, np.uint8, count=self._rows * row_bytes, offset=place.offset
            ).reshape(self._rows, row_bytes)
        except (OSError, ValueError) as error:
            raise LLMError(f"{place.path} is cut off ({error}). Fetch the file again.") from error
        try:
            self._dequantized(self._data[:1])
        except NotImplementedError:
            self.problem = f"embeddings quantised as {self._kind.name} cannot be read"

    def __call__(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings of ``tokens``: float32 [n, width].

        Raises:
            LLMError: the table's quantisation is one that cannot be read here.
        """
        if self.problem is not None:
            raise LLMError(
                f"{self._path}: {self.problem}. Take the same LLM in another quantisation."
            )
        return self._dequantized(self._data[np.asarray(tokens, dtype=np.int64)])

    def _dequantized(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._kind == GGMLQuantizationType.F32:
            return rows.view(np.float32)
        if self._kind == GGMLQuantizationType.F16:
            return rows.view(np.float16).astype(np.float32)
        return np.asarray(dequantize(rows, self._kind), dtype=np.float32)
