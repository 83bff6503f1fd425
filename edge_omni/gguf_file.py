"""What a GGUF file says about itself: its shards, its metadata and where its tensors lie.

``gguf.GGUFReader`` reads the whole vocabulary into Python objects first (seconds for 150 000
tokens). Nothing of it is needed here, so the header is walked and arrays are only counted.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from edge_omni.errors import LLMError

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_TYPES = {
    "adapter": "a LoRA adapter, to be laid over an LLM",
    "imatrix": "an importance matrix, for quantising an LLM",
    "mmproj": "the projector of a model that sees or hears (mmproj)",
    "vocab": "a vocabulary without a model",
}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies.

    Attributes:
        path: the shard that holds it.
        offset: of its first byte in the shard.
        shape: the size of a row first.
        kind: its quantisation, by GGML's number.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    kind: int


class GGUFFile:
    """The header of a GGUF file, or of all shards of one.

    Attributes:
        shards: the files, the first of them first.
        metadata: numbers and strings by their keys; of the first shard.
        lengths: how many elements arrays have, by their keys; of the first shard.
        tensors: of all shards, by name.

    Raises:
        LLMError: a file is missing or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.shards = shards(path)
        self.metadata: dict[str, str | float] = {}
        self.lengths: dict[str, int] = {}
        self.tensors: dict[str, Tensor] = {}
        for shard in reversed(self.shards):  # the first has the last word
            try:
                with shard.open("rb") as file:
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                with data:
                    self._read(shard, data)
            except (OSError, ValueError, KeyError, struct.error) as error:
                raise LLMError(
                    f"{shard} cannot be read as GGUF ({error}). Fetch the file again."
                ) from error

    @property
    def architecture(self) -> str:
        """llama.cpp's name for how the model is built."""
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.stat().st_size for shard in self.shards)

    def number(self, key: str) -> int | None:
        """A whole number that stands under the architecture's name, such as ``block_count``."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return None if value is None else int(value)

    def why_no_llm(self) -> str | None:
        """What it is instead, for people to read, where it is no LLM that writes text."""
        kind = str(self.metadata.get("general.type", "model"))
        if self.architecture == "clip":
            kind = "mmproj"
        if kind in _TYPES:
            return f"{_TYPES[kind]}, not an LLM"
        if self.number("pooling_type"):
            return "an embedding model: it writes no text"
        if self.number("attention.causal") == 0:
            return (
                "no LLM that writes word by word: it reads in both directions at once, as "
                "embedding and diffusion models do"
            )
        return None

    def _read(self, path: Path, data: mmap.mmap) -> None:
        magic, _version, tensors, keys = struct.unpack_from("<4sIQQ", data, 0)
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        at, found = 24, []
        for _ in range(keys):
            key, at = _string(data, at)
            (kind,) = struct.unpack_from("<I", data, at)
            at = self._value(key, data, at + 4, kind)
        for _ in range(tensors):
            name, at = _string(data, at)
            (dimensions,) = struct.unpack_from("<I", data, at)
            shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
            kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dimensions)
            at += 16 + 8 * dimensions
            found.append((name, offset, shape, kind))
        alignment = int(self.metadata.get("general.alignment", 32))
        start = at + -at % alignment
        for name, offset, shape, kind in found:
            self.tensors[name] = Tensor(path, start + offset, shape, kind)

    def _value(self, key: str, data: mmap.mmap, at: int, kind: int) -> int:
        """Read a metadata value; the offset behind it."""
        if kind == _STRING:
            self.metadata[key], at = _string(data, at)
            return at
        if kind == _ARRAY:
            _element, self.lengths[key] = struct.unpack_from("<IQ", data, at)
            return _behind_array(data, at)
        (self.metadata[key],) = struct.unpack_from("<" + _FORMATS[kind], data, at)
        return at + struct.calcsize(_FORMATS[kind])


def shards(path: Path) -> list[Path]:
    """All files of an LLM, whichever of them is named, the first of them first.

    Raises:
        LLMError: names those that are missing.
    """
    match = _SHARD.fullmatch(path.name)
    if match is None:
        found = [path]
    else:
        name, count = match["name"], int(match["count"])
        found = [path.with_name(f"{name}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)]
    missing = [str(shard) for shard in found if not shard.is_file()]
    if len(missing) == len(found):
        raise LLMError(f"There is no LLM file {path}. Check the path given with --llm.")
    if missing:
        raise LLMError(
            f"{path} is one of {len(found)} parts of an LLM. Put the others beside it; missing: "
            f"{', '.join(missing)}."
        )
    return found


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("the file ends in its header")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _behind_array(data: mmap.mmap, at: int) -> int:
    """The offset behind an array's elements."""
    element, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if element in _FORMATS:
        return at + struct.calcsize(_FORMATS[element]) * int(count)
    for _ in range(count):
        if element == _ARRAY:
            at = _behind_array(data, at)
        elif element == _STRING:
            (length,) = struct.unpack_from("<Q", data, at)
            at += 8 + length
        else:
            raise ValueError(f"an array of unknown kind {element}")
    return at
