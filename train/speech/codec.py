"""The codec: the voice's latents as one code of 1024 for every two latent frames (43.07 a second).

A convolutional VQ autoencoder trained on the latents alone. The voice's own waveform decoder turns
its output into sound, so no adversarial training is needed. The encoder may look ahead as it
likes; the decoder looks one code ahead, because that is time the listener waits for.

    python -m train.speech.audible --work DIR
    python -m train.speech.codec --work DIR --minutes 9
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from train import checkpoint, command
from train.run import Run
from train.speech import exported, synthesize

LATENT, CODES, FRAMES = 192, 1024, 2
"""Latent channels, codebook size, latent frames for each code."""
CODE_RATE = synthesize.LATENT_RATE / FRAMES
METRIC = "audible.npy"
"""What :mod:`train.speech.audible` found, in the folder of the work."""
LENGTH = 64
"""Latent frames of each example in training."""


class CausalBlock(nn.Module):
    """A residual convolution that looks back only. [B, width, T] to the same."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        past = functional.pad(functional.gelu(x), (self.conv.kernel_size[0] - 1, 0))
        return x + self.out(functional.gelu(self.conv(past)))


class Block(nn.Module):
    """A residual convolution that looks both ways. [B, width, T] to the same."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(functional.gelu(self.conv(functional.gelu(x))))


class Quantiser(nn.Module):
    """Nearest neighbour in a codebook that follows its members (exponential moving average)."""

    def __init__(self, width: int, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("book", torch.randn(CODES, width))
        self.register_buffer("count", torch.zeros(CODES))
        self.register_buffer("total", torch.zeros(CODES, width))

    def nearest(self, x: Tensor) -> Tensor:
        """[..., width] to codes [...]."""
        flat = x.reshape(-1, x.shape[-1])
        score = flat @ self.book.T - 0.5 * (self.book**2).sum(1)
        return score.argmax(1).reshape(x.shape[:-1])

    @torch.no_grad()
    def follow(self, x: Tensor, codes: Tensor) -> None:
        """Move the codebook towards x [n, width]; codes that are hardly used start anew."""
        self.count *= self.decay
        self.total *= self.decay
        self.count += (1 - self.decay) * torch.bincount(codes, minlength=CODES)
        self.total.index_add_(0, codes, (1 - self.decay) * x)
        self.book.copy_(self.total / self.count.clamp_min(1e-6)[:, None])
        idle = torch.nonzero(self.count < 0.05 * self.count.mean())[:, 0]
        if len(idle):
            fresh = x[torch.randint(len(x), (len(idle),), device=x.device)]
            self.book[idle] = fresh
            self.count[idle] = self.count.mean()
            self.total[idle] = fresh * self.count.mean()


class Codec(nn.Module):
    """Latents to codes and back."""

    def __init__(self, width: int = 256, bottleneck: int = 48) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(LATENT, 1))
        self.register_buffer("scale", torch.ones(1))
        self.encoder = nn.Sequential(
            nn.Conv1d(LATENT, width, 5, padding=2),
            Block(width, 5),
            nn.Conv1d(width, width, FRAMES, stride=FRAMES),
            Block(width, 5),
            Block(width, 3),
            nn.Conv1d(width, bottleneck, 1),
        )
        self.quantiser = Quantiser(bottleneck)
        self.opening = nn.Conv1d(bottleneck, width, 3, padding=1)
        self.slow = nn.ModuleList([CausalBlock(width, 3) for _ in range(3)])
        self.spread = nn.Conv1d(width, FRAMES * width, 1)
        self.fast = nn.ModuleList([CausalBlock(width, 3) for _ in range(2)])
        self.closing = nn.Conv1d(width, LATENT, 1)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, 192, 2 T] to codes [B, T]."""
        return self.quantiser.nearest(self._inner(latents).transpose(1, 2))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, T] to latents [B, 192, 2 T]."""
        return self._outer(self.quantiser.book[codes].transpose(1, 2)) * self.scale + self.mean

    def loss(self, latents: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Training loss and the share of what can be heard that is lost.

        Args:
            latents: [B, 192, 2 T].
            heard: [192, 192], root of the metric of :mod:`train.speech.audible`.
        """
        target = (latents - self.mean) / self.scale
        inner = self._inner(latents).float().transpose(1, 2)
        codes = self.quantiser.nearest(inner)
        if self.training and self.quantiser.decay < 1:
            self.quantiser.follow(inner.detach().flatten(0, 1), codes.flatten())
        chosen = self.quantiser.book[codes]
        commitment = functional.mse_loss(inner, chosen)
        straight = inner + (chosen - inner).detach()
        error = heard @ (self._outer(straight.transpose(1, 2)).float() - target)
        lost = error.square().mean()
        whole = heard @ (target - target.mean((0, 2), keepdim=True))
        return lost + 0.1 * commitment, lost.detach() / whole.square().mean()

    def _inner(self, latents: Tensor) -> Tensor:
        return self.encoder((latents - self.mean) / self.scale)

    def _outer(self, x: Tensor) -> Tensor:
        x = self.opening(x)
        for block in self.slow:
            x = block(x)
        batch, _, time = x.shape
        x = self.spread(x).view(batch, -1, FRAMES, time).permute(0, 1, 3, 2)
        x = x.reshape(batch, -1, FRAMES * time)
        for block in self.fast:
            x = block(x)
        return self.closing(x)


def load(work: Path) -> Codec:
    """The trained codec."""
    codec = Codec()
    codec.load_state_dict(checkpoint.read(work / "codec.pt")["model"])
    return codec.eval()


@torch.no_grad()
def _count(codec: Codec, latents: NDArray[np.float16], rng: np.random.Generator) -> None:
    """Count the members of each code, which the codebook follows and the graphs do not keep."""
    starts = rng.integers(len(latents) - LENGTH, size=2000)
    rows = np.stack([latents[start : start + LENGTH] for start in starts]).astype(np.float32)
    used = torch.bincount(
        codec.encode(torch.from_numpy(rows).transpose(1, 2)).flatten(), minlength=CODES
    )
    quantiser = codec.quantiser
    quantiser.count.copy_(used / used.sum() * 32 * LENGTH / FRAMES).clamp_(min=0.5)
    quantiser.total.copy_(quantiser.book * quantiser.count[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="learn only the encoder, for its codec")
    parser.add_argument("--start", type=Path, help="begin with this checkpoint")
    parser.add_argument("--shards", type=int, default=16, help="shards to learn from")
    args = command.parse(parser)
    rng = np.random.default_rng(args.seed)
    paths = sorted((args.work / "latents").glob("*.npz"))
    paths = [paths[i] for i in rng.permutation(len(paths))[: args.shards]]
    latents = np.concatenate([u.latents for path in paths for u in synthesize.load(path)])
    codec = Codec()
    sample = latents[rng.integers(len(latents), size=20000)].astype(np.float32)
    codec.mean.copy_(torch.from_numpy(sample.mean(0))[:, None])
    codec.scale.fill_(float(np.sqrt(sample.var(0).mean())))
    if args.bundle:
        exported.fill(codec, args.bundle, "codec.")
        codec.requires_grad_(False).encoder.requires_grad_(True)
        codec.quantiser.decay = 1.0
    if args.start:
        codec.load_state_dict(checkpoint.read(args.start)["model"])
        _count(codec, latents, rng)
    optimiser = torch.optim.AdamW(codec.parameters(), 1.5e-3, (0.8, 0.99), weight_decay=0.01)
    # The root W of the metric M = W'W: a squared length |W x|² is what can be heard of x.
    heard = torch.linalg.cholesky(torch.from_numpy(np.load(args.work / METRIC))).T
    training = Run(args.work / "codec.pt", codec, optimiser, args)
    heard = heard.to(training.device)

    def cut(_: None, dice: np.random.Generator) -> Tensor:
        starts = dice.integers(len(latents) - LENGTH, size=32)
        rows = np.stack([latents[start : start + LENGTH] for start in starts])
        return torch.from_numpy(rows.astype(np.float32)).transpose(1, 2)

    for batch in training.batches(itertools.repeat(None), cut):
        loss, lost = training.forward(Codec.loss, batch, heard)
        training.learn(loss)
        used = (codec.quantiser.count > 0.1 / CODES).sum()
        training.tell(lost=lost, used=used)


if __name__ == "__main__":
    main()
