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
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from train.hearing import exported, whisper
from train.hearing.batches import BLOCK, IGNORE, Batch, Folder, batches
from train.hearing.data import TAP
from train.hearing.decoder import Decoder, DecoderSizes
from train.hearing.encoder import FRAME, Encoder, chunk_mask
from train.hearing.vocabulary import english
from train.hearing.weights import load_decoder, load_encoder

# Share of the teacher's distribution in the target of a token; the rest is the token itself, which
# beam search over padded sound chose, and which is the better of the two at the end of a recording.
SOFT = 0.7


@dataclass
class Losses:
    """The parts of the loss: features, middle features, tokens; and the share of tokens right."""

    final: Tensor
    middle: Tensor
    tokens: Tensor
    right: Tensor


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
    return torch.arange(frames)[None] >= visible[:, None]


def read(decoder: Decoder, frames: Tensor, tokens: Tensor, visible: Tensor) -> Tensor:
    """Hidden states of ``tokens`` over the first ``visible`` of frames [B, T, width]."""
    hidden, _, _ = decoder(
        tokens, decoder.memory(frames), decoder.first_past(len(tokens)),
        padding(visible, frames.shape[1]),
    )  # fmt: skip
    return hidden


def losses(model: Student, teacher: Decoder, batch: Batch) -> Losses:
    """Compare student and teacher on one batch."""
    length = batch.pcm.shape[1] // FRAME
    mask = chunk_mask(length, BLOCK, model.encoder.sizes.context, batch.offset)
    # At run time nothing comes after the sound's end, not even silence.
    mask = mask & ~padding(batch.visible, length)[:, None] | torch.eye(length, dtype=torch.bool)
    frames, tapped = model.encoder(batch.pcm, mask[:, None], (TAP,))
    shown = ~padding(batch.compared, length)

    def distance(ours: Tensor, theirs: Tensor) -> Tensor:
        ours, theirs = ours[shown].float(), theirs[:, :length][shown]
        return (ours - theirs).square().mean() / theirs.var()

    final, middle = distance(frames, batch.final), distance(tapped[0], batch.middle)
    wanted = batch.targets != IGNORE
    if not wanted.any():
        return Losses(final, middle, torch.zeros(()), torch.zeros(()))
    targets = batch.targets[wanted]
    with torch.no_grad():
        taught = teacher.logits(read(teacher, batch.final, batch.tokens, batch.known)[wanted])
    logits = model.decoder.logits(read(model.decoder, frames, batch.tokens, batch.visible)[wanted])
    logits = logits.float().log_softmax(-1)
    chosen = functional.nll_loss(logits, targets, reduction="none")
    soft = -(taught.float().softmax(-1) * logits).sum(-1)
    ends = targets == model.kept.index(50257)  # the teacher does not know where the sound ends
    tokens = torch.where(ends, chosen, SOFT * soft + (1 - SOFT) * chosen).mean()
    return Losses(final, middle, tokens, (logits.argmax(-1) == targets).float().mean())


def rate(step: int, steps: int, warm: int = 20) -> float:
    """Learning rate at ``step`` as a share of the highest: a ramp, then half a cosine to 2 %."""
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.49 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / (steps - warm)))))


def train(options: argparse.Namespace) -> None:
    """Run or go on with a run."""
    options.out.mkdir(parents=True, exist_ok=True)
    model = student()
    teacher = student().decoder.eval().requires_grad_(False).bfloat16()
    decoder = [
        p for n, p in model.decoder.named_parameters() if n not in ("embedding", "positions")
    ]
    model.decoder.embedding.requires_grad_(False)
    model.decoder.positions.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "highest": options.encoder_rate},
            {"params": decoder, "highest": options.decoder_rate},
        ],
        weight_decay=0.01,
        betas=(0.9, 0.98),
    )
    step, heard = 0, 0.0
    saved = options.out / "last.pt"
    if options.bundle:
        exported.load(options.bundle, model)
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, heard = state["step"], state["heard"]
    log = (options.out / "log.jsonl").open("a")
    began, kept_at = time.monotonic(), time.monotonic()
    while step < options.steps:
        folders = [Folder(path) for path in options.data if (path / "index.jsonl").exists()]
        dice = np.random.default_rng((options.seed, step))
        for batch in batches(folders, model.kept, options.seconds, options.truncate, dice):
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * rate(step, options.steps)
            with torch.autocast("cpu", torch.bfloat16):
                parts = losses(model, teacher, batch)
            loss = parts.final + 0.3 * parts.middle + parts.tokens
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            heard += float(batch.compared.sum()) / 50
            values = {name: round(float(value.detach()), 4) for name, value in vars(parts).items()}
            line = {"step": step, **values, "hours": round(heard / 3600, 3)}
            log.write(json.dumps({**line, "seconds": round(time.monotonic() - began)}) + "\n")
            log.flush()
            if time.monotonic() - kept_at > options.every or step >= options.steps:
                kept_at = time.monotonic()
                state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save({**state, "step": step, "heard": heard}, saved.with_suffix(".new"))
                saved.with_suffix(".new").replace(saved)
            if step >= options.steps:
                break


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="begin with its weights, not with Whisper's")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=50.0, help="sound per batch")
    parser.add_argument("--truncate", type=float, default=0.45, help="share of recordings cut")
    parser.add_argument("--encoder-rate", type=float, default=1.5e-4)
    parser.add_argument("--decoder-rate", type=float, default=3e-5)
    parser.add_argument("--every", type=float, default=240.0, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train(options)


if __name__ == "__main__":
    main()
