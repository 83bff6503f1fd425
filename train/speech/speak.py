"""Train the speech decoder.

    python -m train.speech.speak --work DIR --minutes 60

Stop it at any time; the same command goes on. More minutes than before make the run longer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.speech import aligned, exported, hidden, pronounce
from train.speech.alphabet import CHARACTERS
from train.speech.codec import CODES
from train.speech.decoder import SpeechDecoder
from train.speech.lessons import Batch, Rows
from train.speech.progress import Progress, save

NOISE = 0.12
"""Share of previous codes that are replaced at random, so that a wrong code is soon forgotten."""
RATE = 1e-3


def build(work: Path) -> SpeechDecoder:
    """A decoder of the right size, untrained."""
    return SpeechDecoder(len(CHARACTERS), len(pronounce.Units.load(work)))


def predict(model: SpeechDecoder, batch: Batch, noise: float) -> tuple[Tensor, ...]:
    """Scores of the codes (with and without the codes before), of the units, and durations."""
    slots, durations = model.text(batch.characters, batch.text_mask)
    steps = torch.arange(batch.there.shape[1])
    features = model.frames(slots, batch.durations, steps, batch.there)
    rows = features.gather(1, batch.where[:, :, None].expand(-1, -1, features.shape[2]))
    previous = batch.previous
    if noise:
        swap = torch.rand(previous.shape) < noise
        previous = torch.where(swap, torch.randint(CODES, previous.shape), previous)
    keys, values = model.prefix(batch.hidden, batch.prefix_there)
    scores = model.writer(previous, rows, keys, values, batch.prefix_mask)
    return scores, model.guess(rows), model.text.units(slots), durations


def losses(model: SpeechDecoder, batch: Batch, noise: float) -> dict[str, Tensor]:
    """Each part of the loss."""
    with torch.autocast("cpu", torch.bfloat16):
        scores, guess, units, durations = predict(model, batch, noise)
    truth = batch.codes.flatten()
    there = torch.repeat_interleave(batch.characters > 0, 2, 1)
    return {
        "code": functional.cross_entropy(scores.float().flatten(0, 1), truth),
        "guess": functional.cross_entropy(guess.float().flatten(0, 1), truth),
        "ctc": pronounce.ctc(units, batch.lessons),
        "duration": ((durations - batch.durations).abs() * there).sum() / there.sum(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--bundle", type=Path, help="begin with its decoder")
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    sentences = [s for p in sorted((args.work / "aligned").glob("*.npz")) for s in aligned.load(p)]
    states = hidden.load(args.work / "hidden")
    hours = sum(len(s.codes) for s in sentences) / 43.07 / 3600
    print(f"{len(sentences)} sentences, {hours:.1f} h, {len(states)} with hidden states")
    model = build(args.work)
    path = args.work / "speak.pt"
    if not path.exists():
        if args.bundle:
            exported.fill(model, args.bundle)
        model.text.load_state_dict(
            torch.load(args.work / "pronounce.pt", weights_only=True)["model"]
        )
    optimiser = torch.optim.AdamW(model.parameters(), args.rate, (0.9, 0.97), weight_decay=0.02)
    progress = Progress("speak", args.minutes, path, model, optimiser)
    rows = Rows(sentences, states, seed=args.seed + progress.step)
    reading = pronounce.Batches(pronounce.load(args.work), 1024, args.seed + progress.step)
    while progress.next(args.rate):
        parts = losses(model, rows.next(), NOISE)
        # A decoder that has learnt needs no help from the guess, which begins anew.
        guess = 0.0 if args.bundle else 0.5
        loss = parts["code"] + guess * parts["guess"] + 0.2 * parts["ctc"] + 0.3 * parts["duration"]
        if progress.step % 3 == 0:
            # Words that no sound was made for are not to be forgotten.
            batch = reading.next()
            with torch.autocast("cpu", torch.bfloat16):
                slots, _ = model.text(pronounce.padded([lesson.characters for lesson in batch]))
                units = model.text.units(slots)
            parts["read"] = pronounce.ctc(units, batch)
            loss = loss + 0.4 * parts["read"]
        else:
            parts["read"] = torch.tensor(0.0)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        progress.tell(**{name: value.detach() for name, value in parts.items()})
    save(path, progress)


if __name__ == "__main__":
    main()
