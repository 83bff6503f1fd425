"""The streaming speech encoder: Kaldi's filterbank, normalisation, subsampling by four and a
Transformer that looks back over a bounded number of chunks.

Facts: Freeze-Omni, section 2.2 and its public code. What the reference does by the size of a buffer
is done here by a mask, so that every chunk has the same shapes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.freeze_omni import config
from convert.freeze_omni.errors import CheckpointError

RATE, WINDOW, SHIFT, FFT = 16_000, 400, 160, 512
"""Samples a second; samples of a window, from one to the next, and of its transform."""
STEP, OVERLAP = 16, 3
"""Filterbank frames of one step, and those of the step before that the convolutions need."""
LARGEST = 5000
"""Positions after which the reference begins again."""


class Filterbank(nn.Module):
    """Kaldi's log mel filterbank without dither: pcm [1, n] to frames [1, f, bins].

    25 ms windows, 10 ms shift, DC offset removed, pre-emphasis 0.97, Povey window, power spectrum,
    triangular mel filters from 20 Hz to half the rate. Samples are scaled to 16 bits.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        n = torch.arange(WINDOW, dtype=torch.float64)
        povey = (0.5 - 0.5 * torch.cos(2 * math.pi * n / (WINDOW - 1))).pow(0.85)
        shaped = torch.diag(povey) @ _emphasis()
        angles = 2 * math.pi / FFT * torch.outer(torch.arange(FFT // 2, dtype=torch.float64), n)
        waves = torch.cat([torch.cos(angles), torch.sin(angles)]) @ shaped
        self.register_buffer("waves", waves.float().contiguous(), persistent=False)
        self.register_buffer("filters", _mel_filters(bins).float(), persistent=False)

    def forward(self, pcm: Tensor) -> Tensor:
        """See the class."""
        frames = (pcm * 32768.0).unfold(1, WINDOW, SHIFT)
        real, imaginary = (frames @ self.waves.T).chunk(2, dim=-1)
        power = real.square() + imaginary.square()
        return (power @ self.filters).clamp_min(torch.finfo(torch.float32).eps).log()


def _emphasis() -> Tensor:
    """What is done to a window before it is weighted: mean removed, then pre-emphasis."""
    centred = torch.eye(WINDOW, dtype=torch.float64) - 1.0 / WINDOW
    emphasis = torch.eye(WINDOW, dtype=torch.float64)
    emphasis -= 0.97 * torch.diag(torch.ones(WINDOW - 1, dtype=torch.float64), -1)
    emphasis[0, 0] -= 0.97
    return emphasis @ centred


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _mel_filters(bins: int) -> Tensor:
    """Weights [FFT / 2, bins] of the frequencies below half the rate."""
    ends = _mel(torch.tensor([20.0, RATE / 2], dtype=torch.float64))
    points = torch.linspace(0, 1, bins + 2, dtype=torch.float64) * (ends[1] - ends[0]) + ends[0]
    left, centre, right = points[:-2], points[1:-1], points[2:]
    at = _mel(torch.arange(FFT // 2, dtype=torch.float64) * RATE / FFT)[:, None]
    return torch.minimum((at - left) / (centre - left), (right - at) / (right - centre)).clamp_min(
        0.0
    )


def read_cmvn(path: Path, bins: int, is_json: bool) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation [bins] from sums over frames, as JSON or Kaldi's text.

    Raises:
        CheckpointError: the file is missing or of neither kind.
    """
    content = config.text(path)
    try:
        if is_json:
            sums = json.loads(content)
            count, first, second = sums["frame_num"], sums["mean_stat"], sums["var_stat"]
        else:
            numbers = [float(word) for word in content.split() if word not in "[]"]
            half = len(numbers) // 2
            count, first, second = numbers[half - 1], numbers[: half - 1], numbers[half:-1]
        mean = torch.tensor(first, dtype=torch.float64) / count
        variance = torch.tensor(second, dtype=torch.float64) / count - mean.square()
        fits = mean.shape == variance.shape == (bins,)
    except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path} holds no sums of filterbank frames, as JSON or in Kaldi's text form ({error})."
        ) from error
    if not fits or not torch.isfinite(mean).all() or not torch.isfinite(variance).all():
        raise CheckpointError(f"{path} does not hold {bins} finite means and variances.")
    return mean.float(), variance.clamp_min(1e-20).rsqrt().float()


class Attention(nn.Module):
    """Attention with learnt biases for content and position (Transformer-XL), without its shift."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, self.size))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, self.size))

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x [1, n, width] and past [2, heads, t, size] to the like; positions [t + n, width]."""
        q = self.linear_q(x).view(-1, self.heads, self.size).transpose(0, 1)
        new = torch.stack([self._split(self.linear_k(x)), self._split(self.linear_v(x))])
        keys, values = torch.cat([past, new], 2)
        # (q W) p instead of q (W p): the positions are many and the queries few.
        by_head = self.linear_pos.weight.view(self.heads, self.size, -1)
        turned = (q + self.pos_bias_v[:, None]) @ by_head
        scores = (q + self.pos_bias_u[:, None]) @ keys.transpose(1, 2) + turned @ positions.T
        weights = (scores / math.sqrt(self.size) + mask).softmax(-1)
        heard = (weights @ values).transpose(0, 1).reshape(1, -1, self.heads * self.size)
        return self.linear_out(heard), torch.stack([keys, values])[:, :, x.shape[1] :]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(-1, self.heads, self.size).transpose(0, 1)


class FeedForward(nn.Module):
    """Two linear layers."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Frame by frame."""
        out: Tensor = self.w_2(functional.relu(self.w_1(x)))
        return out


class Layer(nn.Module):
    """A layer of the Transformer, normalised before or after."""

    def __init__(self, sizes: config.Transformer) -> None:
        super().__init__()
        width = sizes.width
        self.self_attn = Attention(width, sizes.heads)
        self.feed_forward = FeedForward(width, sizes.feed_forward)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.before = sizes.normalize_before
        if sizes.concat_after:
            self.concat_linear = nn.Linear(2 * width, width)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Attention`."""
        inner = self.norm1(x) if self.before else x
        heard, after = self.self_attn(inner, positions, mask, past)
        if hasattr(self, "concat_linear"):
            heard = self.concat_linear(torch.cat([inner, heard], -1))
        x = x + heard
        if not self.before:
            x = self.norm1(x)
        x = x + self.feed_forward(self.norm2(x) if self.before else x)
        return (x if self.before else self.norm2(x)), after


class Transformer(nn.Module):
    """The layers, and where in the sound each key stands."""

    def __init__(self, sizes: config.Transformer) -> None:
        super().__init__()
        self.width, self.chunk = sizes.width, sizes.chunk
        self.kept = sizes.chunk * sizes.left_chunks
        if sizes.input_layer == "linear":
            self.embed = nn.Sequential(
                nn.Linear(sizes.input_dim, sizes.width),
                nn.LayerNorm(sizes.width),
                nn.Identity(),  # where the checkpoint was trained with dropout
                nn.ReLU(),
            )
        self.encoders = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        if sizes.normalize_before:
            self.after_norm = nn.LayerNorm(sizes.width)
        rates = torch.arange(0, self.width, 2, dtype=torch.float32)
        rates = torch.exp(rates * -(math.log(10000.0) / self.width))
        self.register_buffer("rates", rates, persistent=False)

    def forward(
        self, x: Tensor, past: Tensor, position: Tensor, known: Tensor
    ) -> tuple[Tensor, ...]:
        """One chunk [1, chunk, width] to frames and the next state.

        Args:
            past: keys and values [layers, 2, heads, kept, size].
            position: int64 [1], of the chunk; it begins again before the reference's table ends.
            known: int64 [1], how many frames of the past there are.
        """
        if hasattr(self, "embed"):
            x = self.embed(x)
        x = x * math.sqrt(self.width)
        full = self.kept + self.chunk
        position = position % (self.chunk * (LARGEST // self.chunk) - full)
        absent = self.kept - known
        places = torch.arange(full)
        mask = torch.where(places < absent, -1e9, 0.0)
        # Once all of the past is there, the reference counts from one chunk further back.
        positions = self._positions((position - full).clamp_min(0) + places - absent)
        after = []
        for layer, its in zip(self.encoders, past, strict=True):
            x, kept = layer(x, positions, mask, its)
            after.append(kept)
        if hasattr(self, "after_norm"):
            x = self.after_norm(x)
        known = (known + self.chunk).clamp_max(self.kept)
        return x, torch.stack(after), position + self.chunk, known

    def _positions(self, places: Tensor) -> Tensor:
        """Sines and cosines [n, width] of places [n], in turn."""
        angles = places.to(torch.float32)[:, None] * self.rates
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Subsampling(nn.Module):
    """Two convolutions with stride 2 over time and frequency, and a projection."""

    def __init__(self, sizes: config.Subsampling) -> None:
        super().__init__()
        width = sizes.output_dim
        self.core = nn.ModuleDict(
            {
                "conv": nn.Sequential(
                    nn.Conv2d(1, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU()
                ),
                "out": nn.Sequential(
                    nn.Linear(width * (((sizes.input_dim - 1) // 2 - 1) // 2), width)
                ),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Filterbank frames [1, 19, bins] to [1, 4, width]."""
        x = self.core["conv"](x[:, None])
        out: Tensor = self.core["out"](x.transpose(1, 2).flatten(2))
        return out


class Encoder(nn.Module):
    """Sound to frames. Filterbank and normalisation are no part of the checkpoint's tensors."""

    def __init__(self, sizes: config.Hearing, mean: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.enc = nn.ModuleList([Subsampling(sizes.subsampling), Transformer(sizes.transformer)])
        self.filterbank = Filterbank(sizes.input_dim)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)
        self.sizes = sizes.transformer

    def first_state(self) -> dict[str, Tensor]:
        """Before any sound: zeros, in the filterbank frames too."""
        sizes = self.sizes
        kept = sizes.chunk * sizes.left_chunks
        past = (sizes.layers, 2, sizes.heads, kept, sizes.width // sizes.heads)
        return {
            "pcm": torch.zeros(1, WINDOW - SHIFT),
            "frames": torch.zeros(1, OVERLAP, len(self.mean)),
            "past": torch.zeros(past),
            "position": torch.zeros(1, dtype=torch.int64),
            "known": torch.zeros(1, dtype=torch.int64),
        }

    def forward(
        self,
        pcm: Tensor,
        before: Tensor,
        overlap: Tensor,
        past: Tensor,
        position: Tensor,
        known: Tensor,
    ) -> tuple[Tensor, ...]:
        """One chunk of 160 ms, float32 [1, 2560], to frames [1, 4, width] and the next state."""
        pcm = torch.cat([before, pcm], 1)
        bank = torch.cat([overlap, self.filterbank(pcm)], 1)
        x, *after = self.enc[1](
            self.enc[0]((bank - self.mean) * self.inverse), past, position, known
        )
        return x, pcm[:, -(WINDOW - SHIFT) :], bank[:, -OVERLAP:], *after
