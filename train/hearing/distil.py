"""Teach Whisper's encoder to hear in chunks, and its decoder to read what such an encoder gives.

Student and teacher start from the same weights. The student's encoder sees 320 ms at a time; its
features are drawn to the teacher's (mean squared error over the teacher's variance), and the tokens
that its decoder reads in them to the tokens and distributions that the teacher reads in its own
(Kullback-Leibler divergence). Recordings are cut at random times, so that the decoder learns to end
where the sound ends, without the thirty seconds of padding it was trained with.

    python -m train.hearing.distil --data REAL SYNTHETIC --out RUN --steps 1500
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from train import command
from train.hearing import exported, whisper
from train.hearing.batches import BLOCK, IGNORE, Batch, make, order
from train.hearing.data import TAP
from train.hearing.decoder import Decoder, DecoderSizes
from train.hearing.encoder import FRAME, Encoder, chunk_mask
from train.hearing.vocabulary import english
from train.hearing.weights import load_decoder, load_encoder
from train.run import Run

# Share of the teacher's distribution in the target of a token; the rest is the token itself, which
# beam search over padded sound chose, and which is the better of the two at the end of a recording.
SOFT = 0.7
WEIGHTS = {"final": 1.0, "middle": 0.3, "tokens": 1.0}


class Student(nn.Module):
    """The encoder and the decoder that are trained."""

    def __init__(self, kept: list[int], alignment: list[tuple[int, int]]) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(DecoderSizes(vocabulary=len(kept)), alignment)
        self.kept = kept


def student(folder: Path | None = None) -> Student:
    """Encoder and decoder with Whisper's weights and the English vocabulary."""
    source = whisper.load(folder)
    kept = english(source.vocabulary)
    made = Student(kept, source.config["alignment_heads"])
    load_encoder(made.encoder, source.weights)
    weights = dict(source.weights)
    weights["decoder/embeddings/weight"] = weights["decoder/embeddings/weight"][kept]
    load_decoder(made.decoder, weights)
    return made


def padding(visible: Tensor, frames: int) -> Tensor:
    """True where a frame is not to be seen: bool [B, frames]."""
    return torch.arange(frames, device=visible.device)[None] >= visible[:, None]


def read(decoder: Decoder, frames: Tensor, tokens: Tensor, visible: Tensor) -> Tensor:
    """Hidden states of ``tokens`` over the first ``visible`` of frames [B, T, width]."""
    hidden, _, _ = decoder(
        tokens, decoder.memory(frames), decoder.first_past(len(tokens)),
        padding(visible, frames.shape[1]),
    )  # fmt: skip
    return hidden


def losses(model: Student, teacher: Decoder, batch: Batch) -> dict[str, Tensor]:
    """Compare student and teacher on one batch.

    Returns:
        The parts of the loss, "final" and "middle" features and "tokens", and the share of tokens
        that are "right"; the last two if there are tokens to be read.
    """
    length, device = batch.pcm.shape[1] // FRAME, batch.pcm.device
    mask = chunk_mask(length, BLOCK, model.encoder.sizes.context, batch.offset).to(device)
    # At run time nothing comes after the sound's end, not even silence.
    itself = torch.eye(length, dtype=torch.bool, device=device)
    mask = mask & ~padding(batch.visible, length)[:, None] | itself
    frames, tapped = model.encoder(batch.pcm, mask[:, None], (TAP,))
    shown = ~padding(batch.compared, length)

    def distance(ours: Tensor, theirs: Tensor) -> Tensor:
        ours, theirs = ours[shown].float(), theirs[:, :length][shown]
        return (ours - theirs).square().mean() / theirs.var()

    parts = {"final": distance(frames, batch.final), "middle": distance(tapped[0], batch.middle)}
    wanted = batch.targets != IGNORE
    if not wanted.any():
        return parts
    targets = batch.targets[wanted]
    with torch.no_grad():
        taught = teacher.logits(read(teacher, batch.final, batch.tokens, batch.known)[wanted])
    logits = model.decoder.logits(read(model.decoder, frames, batch.tokens, batch.visible)[wanted])
    logits = logits.float().log_softmax(-1)
    chosen = functional.nll_loss(logits, targets, reduction="none")
    soft = -(taught.float().softmax(-1) * logits).sum(-1)
    ends = targets == model.kept.index(50257)  # the teacher does not know where the sound ends
    tokens = torch.where(ends, chosen, SOFT * soft + (1 - SOFT) * chosen).mean()
    return {**parts, "tokens": tokens, "right": (logits.argmax(-1) == targets).float().mean()}


def train(options: argparse.Namespace) -> None:
    """Run or go on with a run."""
    model = student()
    teacher = student().decoder.eval().requires_grad_(False).bfloat16()
    model.decoder.embedding.requires_grad_(False)
    model.decoder.positions.requires_grad_(False)
    decoder = [p for p in model.decoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "lr": options.encoder_rate},
            {"params": decoder, "lr": options.decoder_rate},
        ],
        weight_decay=0.01,
        betas=(0.9, 0.98),
    )
    if options.bundle:
        exported.load(options.bundle, model)
    training = Run(options.out / "last.pt", model, optimiser, options)
    teacher.to(training.device)
    training.extra.setdefault("heard", 0.0)
    place = {token: i for i, token in enumerate(model.kept)}
    plans = order(options.data, options.seconds, options.seed)
    for batch in training.batches(plans, partial(make, place=place, truncate=options.truncate)):
        parts = training.forward(losses, teacher, batch)
        training.learn(sum(w * parts[name] for name, w in WEIGHTS.items() if name in parts))
        training.extra["heard"] += float(batch.compared.sum()) / 50
        training.tell(**parts, hours=training.extra["heard"] / 3600)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="begin with its weights, not with Whisper's")
    parser.add_argument("--seconds", type=float, default=50.0, help="sound per batch")
    parser.add_argument("--truncate", type=float, default=0.45, help="share of recordings cut")
    parser.add_argument("--encoder-rate", type=float, default=1.5e-4)
    parser.add_argument("--decoder-rate", type=float, default=3e-5)
    train(command.parse(parser))


if __name__ == "__main__":
    main()
