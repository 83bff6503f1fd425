"""Batches by their number: the same whichever worker makes them, and wherever a run begins."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

Plan = TypeVar("Plan")
Batch = TypeVar("Batch")
Make = Callable[[Plan, np.random.Generator], Batch]


class Numbered(Dataset[Any]):
    """Makes batch ``number`` of what its plan says, with dice of its own."""

    def __init__(self, make: Make[Any, Any], seed: int) -> None:
        self._make, self._seed = make, seed

    def __getitem__(self, item: tuple[int, Any]) -> Any:
        number, plan = item
        return self._make(plan, np.random.default_rng((self._seed, number)))


def loader(
    order: Iterable[Plan],
    make: Make[Plan, Batch],
    *,
    first: int,
    seed: int,
    workers: int,
    pin: bool,
) -> DataLoader[Batch]:
    """A loader of whole batches, from batch ``first`` of ``order`` on.

    The order is the loader's sampler, so that accelerate can deal it out to many processes and
    torch to their workers.
    """
    return DataLoader(
        Numbered(make, seed),
        sampler=itertools.islice(enumerate(order), first, None),
        collate_fn=_only,
        num_workers=workers,
        worker_init_fn=_ignore_interrupt,
        # Forked workers share what the maker has read.
        multiprocessing_context="fork" if workers else None,
        pin_memory=pin,
    )


def _only(made: list[Batch]) -> Batch:
    return made[0]


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the run itself ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
