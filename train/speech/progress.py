"""What every training run needs: a time limit, a learning-rate schedule, a log, checkpoints."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Progress:
    """A training run that lasts so many minutes and can be taken up again.

    The learning rate rises over the first 2 % of the run and falls with a cosine to 2 % of its
    peak at the end.

    Args:
        name: shown in the log.
        minutes: processor time of the whole run, earlier parts of it included.
        path: where checkpoints are kept; one that is there is taken up.
    """

    def __init__(
        self,
        name: str,
        minutes: float,
        path: Path,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.name, self.path = name, path
        self.model, self.optimiser = model, optimiser
        self.step = 0
        self._limit = 60 * minutes
        self._before = 0.0
        self._sums: dict[str, float] = {}
        self._told = 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            self.step, self._before = state["step"], state["seconds"]
        self._start = time.process_time()
        self._saved = self._shown = time.monotonic()
        size = sum(p.numel() for p in model.parameters())
        print(f"{name}: {size / 1e6:.2f} M parameters, from step {self.step}", flush=True)

    @property
    def seconds(self) -> float:
        """Processor time trained so far: what else the machine does leaves the schedule alone."""
        return self._before + time.process_time() - self._start

    def next(self, rate: float) -> bool:
        """Begin a step at the scheduled learning rate; False when the time is over."""
        done = self.seconds / self._limit
        if done >= 1:
            return False
        factor = min(done / 0.02, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * max(factor, 0.01)
        self.step += 1
        return True

    def tell(self, every: float = 15, **values: Tensor | float) -> None:
        """Note figures; their means are shown every so many seconds, and a checkpoint is kept
        every two minutes."""
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0.0) + float(value)
        self._told += 1
        now = time.monotonic()
        if now - self._shown > every:
            means = "  ".join(f"{k} {v / self._told:.4f}" for k, v in self._sums.items())
            print(f"{self.name} {self.seconds:6.0f} s  step {self.step}  {means}", flush=True)
            self._sums, self._told, self._shown = {}, 0, now
        if now - self._saved > 120:
            save(self.path, self)
            self._saved = now


def save(path: Path, progress: Progress) -> None:
    """Write a checkpoint; a run that is stopped meanwhile leaves the old one whole."""
    partial = path.with_suffix(".part")
    torch.save(
        {
            "model": progress.model.state_dict(),
            "optimiser": progress.optimiser.state_dict(),
            "step": progress.step,
            "seconds": progress.seconds,
        },
        partial,
    )
    partial.rename(path)
