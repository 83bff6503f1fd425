"""Tensors of a checkpoint into modules, each accounted for.

A module here names its parameters as the checkpoint does, so that loading is strict: a tensor that
is missing, not expected, of another shape or not finite is an error that names it.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convert.freeze_omni.errors import CheckpointError

NAMED = 8
"""Tensors that an error names at most."""


@dataclass(frozen=True)
class Account:
    """Where a tensor went.

    Attributes:
        file: of the checkpoint.
        name, shape: of the tensor.
        place: the part that it went into, or why it is left out.
    """

    file: str
    name: str
    shape: tuple[int, ...]
    place: str


@dataclass
class Weights:
    """The tensors of one file.

    Args:
        path: the file.
        tensors: by name.

    Attributes:
        accounts: where those went that were asked for.
    """

    path: Path
    tensors: dict[str, Tensor]
    accounts: list[Account] = field(default_factory=list)

    def fill(self, module: nn.Module, place: str, prefix: str = "") -> None:
        """Put the tensors whose names begin with ``prefix`` into a module.

        Raises:
            CheckpointError: names what does not fit.
        """
        wanted = module.state_dict()
        missing = [prefix + name for name in wanted if prefix + name not in self.tensors]
        if missing:
            raise CheckpointError(f"{self.path} lacks {_named(missing)} for the {place}.")
        state = {}
        for name, expected in wanted.items():
            tensor = self.tensors.pop(prefix + name)
            if tensor.shape != expected.shape:
                raise CheckpointError(
                    f"{self.path}: {prefix + name} is {_shape(tensor)}, the settings beside it "
                    f"say {_shape(expected)}."
                )
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise CheckpointError(
                    f"{self.path}: {prefix + name} holds values that are no numbers. The file "
                    "was damaged, or training went wrong."
                )
            state[name] = tensor.to(expected.dtype)
            self._note(prefix + name, tensor, place)
        module.load_state_dict(state)

    def leave_out(self, pattern: str, reason: str) -> None:
        """Pass over the tensors whose names match ``pattern`` from the beginning."""
        for name in [name for name in self.tensors if re.match(pattern, name)]:
            self._note(name, self.tensors.pop(name), reason)

    def finish(self) -> None:
        """Check that every tensor is accounted for.

        Raises:
            CheckpointError: names those that are not.
        """
        if self.tensors:
            raise CheckpointError(
                f"{self.path} holds {_named(list(self.tensors))}, which nothing takes: the "
                "settings beside it are of another model."
            )

    def _note(self, name: str, tensor: Tensor, place: str) -> None:
        file = f"{self.path.parent.name}/{self.path.name}"
        self.accounts.append(Account(file, name, tuple(tensor.shape), place))


def read(path: Path, part: str | None = None) -> Weights:
    """The tensors of a file that ``torch.save`` wrote. No code in it is run.

    Args:
        part: which of the dictionaries in it to take; when None the one called `model`, where
            there is one, as training saves it.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than tensors.
    """
    return Weights(path, _tensors(path, _part(path, _load(path), part)))


def parts(path: Path) -> list[str]:
    """The names of the dictionaries in a file."""
    content = _load(path)
    return [str(name) for name in content] if isinstance(content, Mapping) else []


def _load(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing. The checkpoint has to be whole, as it was published."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and is not loaded: it could run code of its own. Use "
            "the file as it was published."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} is damaged or no checkpoint ({reason}).") from error


def _part(path: Path, content: Any, part: str | None) -> Any:
    if part is None:
        inner = content.get("model") if isinstance(content, Mapping) else None
        return inner if isinstance(inner, Mapping) else content
    if not isinstance(content, Mapping) or part not in content:
        raise CheckpointError(f"{path} has no part {part}.")
    return content[part]


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no tensors by name.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {name} is no tensor.")
    return dict(content)


def _is_zip(path: Path) -> bool:
    """Whether the file is of the kind that can be mapped instead of read."""
    return zipfile.is_zipfile(path)


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
