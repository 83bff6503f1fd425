"""Train the speech decoder.

    python -m train.speech.speak --work DIR --minutes 60

Stop it at any time; the same command goes on. More minutes than before make the run longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train import checkpoint, command
from train.run import Run
from train.speech import aligned, exported, hidden, pronounce
from train.speech.alphabet import CHARACTERS
from train.speech.codec import CODES
from train.speech.decoder import SpeechDecoder
from train.speech.lessons import Batch, Rows

NOISE = 0.12
"""Share of previous codes that are replaced at random, so that a wrong code is soon forgotten."""
RATE = 1e-3
WEIGHTS = {"code": 1.0, "guess": 0.5, "ctc": 0.2, "duration": 0.3, "read": 0.4}


def build(work: Path) -> SpeechDecoder:
    """A decoder of the right size, untrained."""
    return SpeechDecoder(len(CHARACTERS), len(pronounce.Units.load(work)))


def predict(model: SpeechDecoder, batch: Batch, noise: float) -> tuple[Tensor, ...]:
    """Scores of the codes (with and without the codes before), of the units, and durations."""
    slots, durations = model.text(batch.characters, batch.text_mask)
    steps = torch.arange(batch.there.shape[1], device=batch.there.device)
    features = model.frames(slots, batch.durations, steps, batch.there)
    rows = features.gather(1, batch.where[:, :, None].expand(-1, -1, features.shape[2]))
    previous = batch.previous
    if noise:
        swap = torch.rand(previous.shape, device=previous.device) < noise
        previous = torch.where(swap, torch.randint_like(previous, CODES), previous)
    keys, values = model.prefix(batch.hidden, batch.prefix_there)
    scores = model.writer(previous, rows, keys, values, batch.prefix_mask)
    return scores, model.guess(rows), model.text.units(slots), durations


def losses(
    model: SpeechDecoder, batch: Batch, reading: pronounce.Reading | None
) -> dict[str, Tensor]:
    """Each part of the loss."""
    scores, guess, units, durations = predict(model, batch, NOISE)
    truth = batch.codes.flatten()
    there = torch.repeat_interleave(batch.characters > 0, 2, 1)
    parts = {
        "code": functional.cross_entropy(scores.float().flatten(0, 1), truth),
        "guess": functional.cross_entropy(guess.float().flatten(0, 1), truth),
        "ctc": pronounce.ctc(units, batch.lessons),
        "duration": ((durations - batch.durations).abs() * there).sum() / there.sum(),
    }
    if reading is not None:
        parts["read"] = pronounce.loss(model.text, reading)
    return parts


class Batches:
    """Rows of sentences, and with every third batch words that no sound was made for, which are
    not to be forgotten."""

    def __init__(self, rows: Rows, reading: pronounce.Batches) -> None:
        self._rows, self._reading = rows, reading

    def order(self, seed: int) -> Iterator[tuple[list[list[int]], list[int] | None]]:
        """The sentences of each batch, and the lessons to be read, without end."""
        both = zip(self._rows.order(seed), self._reading.order(seed), strict=True)
        for number, (rows, lessons) in enumerate(both):
            yield rows, None if number % 3 else lessons

    def make(
        self, plan: tuple[list[list[int]], list[int] | None], dice: np.random.Generator
    ) -> tuple[Batch, pronounce.Reading | None]:
        """Both."""
        rows, lessons = plan
        reading = None if lessons is None else self._reading.make(lessons, dice)
        return self._rows.make(rows, dice), reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="begin with its decoder")
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    args = command.parse(parser)
    sentences = [s for p in sorted((args.work / "aligned").glob("*.npz")) for s in aligned.load(p)]
    states = hidden.load(args.work / "hidden")
    hours = sum(len(s.codes) for s in sentences) / 43.07 / 3600
    print(f"{len(sentences)} sentences, {hours:.1f} h, {len(states)} with hidden states")
    model = build(args.work)
    path = args.work / "speak.pt"
    if not path.exists():
        if args.bundle:
            exported.fill(model, args.bundle)
        model.text.load_state_dict(checkpoint.read(args.work / "pronounce.pt")["model"])
    optimiser = torch.optim.AdamW(model.parameters(), args.rate, (0.9, 0.97), weight_decay=0.02)
    training = Run(path, model, optimiser, args)
    batches = Batches(Rows(sentences, states), pronounce.Batches(pronounce.load(args.work), 1024))
    # A decoder that has learnt needs no help from the guess, which begins anew.
    weights = {**WEIGHTS, "guess": 0.0} if args.bundle else WEIGHTS
    for batch, reading in training.batches(batches.order(args.seed), batches.make):
        parts = training.forward(losses, batch, reading)
        training.learn(sum(weights[name] * value for name, value in parts.items()))
        training.tell(**parts)


if __name__ == "__main__":
    main()
