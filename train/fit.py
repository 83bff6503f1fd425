"""Training of a small network within a budget, stopped early by what was kept aside."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm


def fit(
    name: str,
    module: nn.Module,
    loss: Callable[[int], Tensor],
    measure: Callable[[], float],
    path: Path,
    *,
    seconds: float,
    rate: float,
    every: int,
    patience: int,
) -> None:
    """Train ``module`` and leave in it what measured best; a run that was stopped goes on.

    Args:
        name: shown with the progress.
        loss: of the step with this number, from 0.
        measure: what is to become small, of what was kept aside for stopping.
        path: where the run is kept.
        seconds: processor time of the whole run, earlier parts of it included.
        rate: highest learning rate; it falls linearly with the time.
        every: steps between two measurements.
        patience: so many measurements without a gain end the run.
    """
    optimiser = torch.optim.AdamW(module.parameters(), rate, (0.9, 0.98), weight_decay=0.05)
    step, measured, spent, waited = 0, -1, 0.0, 0
    best, best_state = float("inf"), copy.deepcopy(module.state_dict())
    if path.exists():
        saved = torch.load(path, weights_only=True)
        module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        step = measured = saved["step"]
        spent, waited = saved["seconds"], saved["waited"]
        best, best_state = saved["best"], saved["best_module"]
    start = time.process_time() - spent
    with tqdm(desc=name, total=round(seconds), initial=round(spent), unit="s") as bar:
        while True:
            over = (spent := time.process_time() - start) >= seconds
            if step != measured and (step % every == 0 or over):
                value, measured = measure(), step
                better = value < best
                waited = 0 if better else waited + 1
                if better:
                    best, best_state = value, copy.deepcopy(module.state_dict())
                spent = time.process_time() - start
                bar.set_postfix(step=step, aside=f"{value:.4f}", best=f"{best:.4f}")
                _save(
                    path,
                    module=module.state_dict(), optimiser=optimiser.state_dict(), step=step,
                    seconds=spent, waited=waited, best=best, best_module=best_state,
                )  # fmt: skip
            bar.update(round(min(spent, seconds)) - bar.n)
            if over or waited >= patience:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate * min((step + 1) / 20, 1.02 - spent / seconds)
            optimiser.zero_grad()
            loss(step).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            step += 1
    module.load_state_dict(best_state)


def helps(before: Tensor, after: Tensor) -> bool:
    """Whether the same items are better after than before, by more than chance.

    Args:
        before: a loss of each item [n]; after: likewise.
    """
    gain = before - after
    return bool(gain.mean() > 2 * gain.std() / len(gain) ** 0.5)


def _save(path: Path, **state: object) -> None:
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.rename(path)
