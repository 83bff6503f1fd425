"""How a run goes: a log of JSON lines, and a bar for the person who watches."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

# Seconds between lines.
EVERY = 10.0
BAR = "{desc} |{bar}| {percentage:.0f} % [{elapsed}<{remaining}{postfix}]"


class Progress:
    """The log and the bar of a run.

    Args:
        path: of the log.
        writes: whether this process is the one that does; the others only take figures.
    """

    def __init__(self, path: Path, writes: bool) -> None:
        self._path, self._writes = path, writes
        self._sums: dict[str, tuple[Tensor | float, int]] = {}
        self._written = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def tell(self, values: dict[str, Tensor | float]) -> None:
        """Take figures; their means are written. Nothing waits for the device here."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            value = value.detach() if isinstance(value, Tensor) else value
            self._sums[name] = (total + value, count + 1)

    def show(self, step: int, seconds: float, done: float, last: bool = False) -> None:
        """Write a line if it is time to.

        Args:
            seconds: spent so far.
            done: share of the run that is over.
            last: whether it is over or stopped.
        """
        if not self._writes:
            return
        done = min(done, 1.0)
        if self._bar is None:  # disable=None: shown on a terminal only
            name = self._path.stem
            self._bar = tqdm(desc=name, total=1.0, initial=done, bar_format=BAR, disable=None)
        if not last and time.monotonic() - self._written < EVERY:
            return
        means = {name: round(float(total) / n, 4) for name, (total, n) in self._sums.items()}
        if means:
            line = {"step": step, "seconds": round(seconds, 1), **means}
            with self._path.open("a") as log:
                log.write(json.dumps(line) + "\n")
        shown = "  ".join(f"{name} {value}" for name, value in {"step": step, **means}.items())
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.n = done
        self._bar.refresh()
        if last:
            self._bar.close()
        self._sums, self._written = {}, time.monotonic()
