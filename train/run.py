"""A training run: what every stage needs around its own losses.

On Hugging Face accelerate, so that a script runs unchanged on a CPU, on one GPU or on many:

    options = command.parse(parser)                     # adds --steps, --minutes, --seed and so on
    training = Run(folder / "NAME.pt", model, torch.optim.AdamW(model.parameters(), 1e-3), options)
    for batch in training.batches(order(), make):
        loss = training.forward(losses, batch)          # losses(model, batch), in bfloat16
        training.learn(loss)
        training.tell(loss=loss)

Stop it at any time, with Ctrl-C too; the same command goes on.
"""

from __future__ import annotations

import argparse
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration, DistributedDataParallelKwargs
from torch import Tensor, nn

from train import checkpoint
from train.loading import Batch, Make, Plan, loader
from train.progress import Progress
from train.stopping import stoppable

Made = TypeVar("Made")

# Steps that the learning rate rises at least, in a run that is counted in steps.
WARM = 20


def share(done: float, warm: float) -> float:
    """Learning rate as a share of the highest: a ramp over ``warm`` of the run, then half a cosine
    to 2 %; ``done`` of the run is over."""
    return max(0.01, min(done / warm, 0.02 + 0.49 * (1 + math.cos(math.pi * done))))


class Run:
    """One training run, taken up where it stopped if its checkpoint is there.

    Args:
        path: of the checkpoint; the log stands beside it, with the ending ``.jsonl``.
        optimiser: its learning rates are the highest of the schedule.
        options: of :func:`train.command.parse`.

    Attributes:
        step: steps done.
        device: where the model is; batches are brought there.
        main: whether this process is the one that writes.
        extra: numbers of the caller's own that the checkpoint keeps.

    Raises:
        CheckpointError: the checkpoint is damaged or of another model.
    """

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        options: argparse.Namespace,
    ) -> None:
        AcceleratorState._reset_state()  # which keeps the precision of an earlier run
        self._accelerator = Accelerator(
            mixed_precision=options.precision,
            cpu=not torch.cuda.is_available(),
            dataloader_config=DataLoaderConfiguration(even_batches=False, non_blocking=True),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.path, self.model, self._options = path, model, options
        self.device: torch.device = self._accelerator.device
        self.main: bool = self._accelerator.is_main_process
        self.step, self._earlier = 0, 0.0
        self.extra: dict[str, float] = {}
        self._progress = Progress(path.with_suffix(".jsonl"), self.main)
        self._highest = [group["lr"] for group in optimiser.param_groups]
        self._called, self._optimiser = self._accelerator.prepare(_Called(model), optimiser)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._take_up()
        # What else a machine does leaves the schedule alone; a GPU tells no such time.
        self._clock = time.process_time if self.device.type == "cpu" else time.monotonic
        self._began = self._clock()

    @property
    def seconds(self) -> float:
        """Processor time (on a GPU, time) spent so far, earlier parts of the run included."""
        return self._earlier + self._clock() - self._began

    def batches(self, order: Iterable[Plan], make: Make[Plan, Batch]) -> Iterator[Batch]:
        """Batch after batch until the run is over; each is for one step.

        Everything random in a step follows from the seed and the number of the step, so that a run
        that was stopped goes on as if it had not been.

        Args:
            order: what each batch of the run holds, from its beginning and without end; cheap,
                since a run that is taken up skips through it, and every process goes through all.
            make: makes a batch of that and of dice, in a worker if there are any: tensors, or
                (named) tuples, lists and dictionaries of them.

        Raises:
            SystemExit: the run was asked to stop; its checkpoint is written.
        """
        options, accelerator = self._options, self._accelerator
        source = loader(
            order,
            make,
            first=self.step * accelerator.num_processes,
            seed=options.seed,
            workers=options.workers,
            pin=self.device.type == "cuda",
        )
        batches = iter(accelerator.prepare(source))
        saved, stop, done = time.monotonic(), False, 0.0
        with stoppable() as asked:
            try:
                while True:
                    stop, seconds = self._agree(bool(asked))
                    done, warm = self._done(seconds)
                    now, over = time.monotonic(), stop or done >= 1
                    if self.main and (over or now - saved > options.every):
                        self.save()
                        saved = now
                    if over:
                        break
                    self._progress.show(self.step, seconds, done)
                    self._schedule(done, warm)
                    batch = next(batches)
                    self._seed()
                    yield batch
            finally:
                self._progress.show(self.step, self.seconds, done, last=True)
        accelerator.end_training()
        if stop:
            raise SystemExit(128 + signal.SIGINT)

    def forward(self, function: Callable[..., Made], *inputs: Any) -> Made:
        """``function(model, *inputs)`` in mixed precision; what it gives can be learnt from."""
        made: Made = self._called(function, *inputs)
        return made

    def learn(self, loss: Tensor) -> None:
        """One step of the optimiser, gradients clipped to a norm of 1."""
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.step += 1

    def tell(self, **values: Tensor | float) -> None:
        """Note figures; the log gets their means, those of the first process."""
        self._progress.tell(values)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {"model": self.model.state_dict(), "optimiser": self._optimiser.state_dict()}
        counted = {"step": self.step, "seconds": self.seconds}
        checkpoint.write(self.path, {**self.extra, **state, **counted})

    def _take_up(self) -> None:
        state = checkpoint.read(self.path)
        try:
            self.model.load_state_dict(state.pop("model"))
            self._optimiser.load_state_dict(state.pop("optimiser"))
            self.step, self._earlier = state.pop("step"), state.pop("seconds", 0.0)
        except (KeyError, RuntimeError, ValueError) as error:
            raise checkpoint.CheckpointError(
                f"{self.path} is of another model. Name another folder for this run, or delete the "
                "file to begin anew."
            ) from error
        self.extra = state

    def _agree(self, asked: bool) -> tuple[bool, float]:
        """Whether any process was asked to stop, and the seconds of the first: so all do alike."""
        told = torch.tensor([float(asked), self.seconds * self.main], dtype=torch.float64)
        if self._accelerator.num_processes > 1:
            told = self._accelerator.reduce(told.to(self.device), "sum")
        stop, seconds = told.tolist()
        return stop > 0, seconds

    def _schedule(self, done: float, warm: float) -> None:
        for group, highest in zip(self._optimiser.param_groups, self._highest, strict=True):
            group["lr"] = highest * share(done, warm)

    def _seed(self) -> None:
        """What is random in the model in this step."""
        mine = self._options.seed, self.step, self._accelerator.process_index
        torch.manual_seed(int(np.random.default_rng(mine).integers(2**62)))

    def _done(self, seconds: float) -> tuple[float, float]:
        """How much of the run is over, and over how much of it the learning rate rises."""
        if self._options.steps is None:
            return seconds / (60 * self._options.minutes), 0.02
        return self.step / self._options.steps, max(0.02, WARM / self._options.steps)


class _Called(nn.Module):
    """A model whose forward pass is any function of it: accelerate sets the precision and gathers
    the gradients of many processes at the forward pass of one module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """See the class."""
        return function(self.model, *inputs)
