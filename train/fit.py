"""Training of a small network within a budget, stopped early by what was kept aside."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from train import checkpoint
from train.loading import Batch, Make, Plan
from train.run import Run


def fit(
    module: nn.Module,
    order: Iterable[Plan],
    make: Make[Plan, Batch],
    loss: Callable[[Batch], Tensor],
    measure: Callable[[], float],
    path: Path,
    *,
    seconds: float,
    rate: float,
    every: int,
    patience: int = 5,
) -> None:
    """Train ``module`` and leave in it what measured best; a run that was stopped goes on.

    Args:
        order, make: of the batches, see :meth:`train.run.Run.batches`.
        measure: what is to become small, of what was kept aside for stopping.
        path: of the checkpoint; the best weights stand beside it, with the ending ``.best.pt``.
        seconds: processor time of the whole run, earlier parts of it included.
        rate: highest learning rate.
        every: steps between two measurements.
        patience: so many measurements without a gain end the run.
    """
    optimiser = torch.optim.AdamW(module.parameters(), rate, (0.9, 0.98), weight_decay=0.05)
    options = argparse.Namespace(
        steps=None, minutes=seconds / 60, every=60.0, precision="no", workers=0, seed=0
    )
    training, best = Run(path, module, optimiser, options), path.with_suffix(".best.pt")

    def look() -> bool:
        """Measure; whether it is worth going on."""
        value = measure()
        training.tell(aside=value)
        waited = training.extra.get("waited", 0) + 1
        if value < training.extra.get("best", float("inf")):
            waited = 0
            checkpoint.write(best, {"model": module.state_dict()})
            training.extra["best"] = value
        training.extra["waited"] = waited
        return waited < patience

    going = look() if training.step == 0 else training.extra["waited"] < patience
    for batch in training.batches(order, make) if going else ():
        value = training.forward(lambda _, given: loss(given), batch)
        training.learn(value)
        training.tell(loss=value)
        if training.step % every == 0 and not look():
            break
    else:
        if going and training.step % every:
            look()
    training.save()
    module.load_state_dict(checkpoint.read(best)["model"])


def helps(before: Tensor, after: Tensor) -> bool:
    """Whether the same items are better after than before, by more than chance.

    Args:
        before: a loss of each item [n]; after: likewise.
    """
    gain = before - after
    return bool(gain.mean() > 2 * gain.std() / len(gain) ** 0.5)
