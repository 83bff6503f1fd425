"""A piece of measuring: many things of a kind are done one after the other, and what came out of
each is kept as it is. Rates, tables and plots are made of that later, in no time.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from evals import report
from evals.setup import file_hash, short_hash

FORMAT = 2
"""To be raised when what jobs do or keep changes, so that older results are not taken for new."""

Input = TypeVar("Input")
Item = dict[str, Any]


class Job(ABC, Generic[Input]):
    """What to do, with plain parameters: subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For people to read: what is done to what."""

    @abstractmethod
    def decided_by(self) -> Any:
        """What decides the result beside the inputs, as JSON can hold it."""

    @abstractmethod
    def inputs(self) -> Sequence[Input]:
        """The things to do it to."""

    @abstractmethod
    def measure(self, one: Input) -> Item:
        """Does it to one of them."""

    def run(self) -> list[Item]:
        """Does it to all of them here and now, with a progress bar."""
        return [self.measure(one) for one in report.progress(self.inputs(), self.name)]

    @property
    def identity(self) -> str:
        """Twelve digits that only jobs with the same result share, whatever they are called."""
        return short_hash([FORMAT, type(self).__name__, self.decided_by(), _plain(self.inputs())])

    @property
    def file_name(self) -> str:
        """Of the file that keeps the result."""
        return re.sub(r"[^\w.]+", "-", self.name) + f"-{self.identity}.json"


def kept(folder: Path) -> dict[str, Path]:
    """The files of results in a folder, by the identity of their jobs."""
    return {path.stem.rpartition("-")[2]: path for path in folder.glob("*-*.json")}


def load(path: Path) -> list[Item]:
    """What :func:`keep` wrote."""
    items: list[Item] = json.loads(path.read_text("utf-8"))
    return items


def keep(path: Path, items: Sequence[Item]) -> None:
    """Writes a result, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps(items, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it, files as the hash of what is in them."""
    if isinstance(value, Path):
        return file_hash(value)
    if is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
