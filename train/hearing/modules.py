"""The streaming speech encoder and the token decoder, in torch, for training and export.

Both are Whisper's layers (Radford et al. 2022, arXiv:2212.04356, section 2.2): pre-norm
transformers of width 512 with 8 heads of 64. What is new is how the encoder sees sound: chunk by
chunk, each attending to itself and to a bounded past, with every piece of state explicit.

Shapes: B batch, T encoder frames (50 per second), n tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Weights = dict[str, NDArray[Any]]
State = dict[str, Tensor]

SAMPLE_RATE = 16_000
HOP, WINDOW, MELS = 160, 400, 80
FRAME = 2 * HOP
HEAD = 64
# Running maximum of the log-mel before any sound: a little below speech at a usual level
# (the median over the training recordings is 1.2), so that silence alone is not raised to speech.
FLOOR_MAXIMUM = 0.5


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of the encoder.

    Attributes:
        chunk: encoder frames per chunk (16 = 320 ms = 5120 samples).
        context: encoder frames of the past that a chunk can attend to.
    """

    width: int = 512
    layers: int = 6
    positions: int = 1500
    chunk: int = 16
    context: int = 512

    @property
    def samples(self) -> int:
        """PCM samples per chunk."""
        return self.chunk * FRAME


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of the token decoder."""

    width: int = 512
    layers: int = 6
    positions: int = 448
    vocabulary: int = 51865


def mel_filters(bins: int = WINDOW // 2 + 1, mels: int = MELS) -> NDArray[np.float32]:
    """Slaney's triangular mel filters, area-normalised, as Whisper uses them: [mels, bins]."""

    def to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        linear = mel * 200.0 / 3
        return np.where(mel < 15, linear, 1000.0 * np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    edges = to_hertz(np.linspace(0, top, mels + 2))
    bands = np.linspace(0, SAMPLE_RATE / 2, bins)
    rising = (bands - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bands) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    triangles = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return np.asarray(triangles, dtype=np.float32)


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's encoder positions: [length, width]."""
    scales = torch.exp(-np.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * scales[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class LogMel(nn.Module):
    """Windowed Fourier transform and mel filters as two matrix products; log10, not normalised."""

    dft: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW // 2 + 1
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(WINDOW)) / WINDOW
        dft = np.concatenate([np.cos(angle), -np.sin(angle)]) * hann
        self.register_buffer("dft", torch.from_numpy(dft[:, None].astype(np.float32)))
        self.register_buffer("filters", torch.from_numpy(mel_filters()))

    def forward(self, pcm: Tensor) -> Tensor:
        """PCM [B, samples] to log10 mel [B, 80, (samples - 400) // 160 + 1]."""
        # Quiet bands lie 80 dB under loud ones: bfloat16 would drown them.
        with torch.autocast("cpu", enabled=False):
            spectrum = functional.conv1d(pcm[:, None], self.dft, stride=HOP)
            real, imaginary = spectrum.chunk(2, dim=1)
            power = real * real + imaginary * imaginary
            return torch.log10(torch.clamp(self.filters @ power, min=1e-10))


def normalise(log_mel: Tensor, maximum: Tensor) -> Tensor:
    """Whisper's range: 8 decades under the maximum, scaled to about -1..1.5."""
    return (torch.maximum(log_mel, maximum - 8.0) + 4.0) / 4.0


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class Feed(nn.Module):
    """The two-layer network of a transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, width] to the same."""
        y: Tensor = self.outer(functional.gelu(self.inner(self.norm(x))))
        return y


class SelfAttention(nn.Module):
    """Self-attention with an explicit past."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, past: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from ``x`` [B, n, width] to the past and itself.

        Args:
            past: keys and values [2, B, heads, p, 64].
            mask: bool [n, p + n], True where attention is allowed.

        Returns:
            The attended [B, n, width] and the keys and values [2, B, heads, p + n, 64].
        """
        query, key, value = (_heads(part) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        memory = torch.stack([key, value])
        if past is not None:
            memory = torch.cat([past, memory], dim=3)
        y = functional.scaled_dot_product_attention(query, memory[0], memory[1], attn_mask=mask)
        return self.out(_merge(y)), memory


class EncoderLayer(nn.Module):
    """One encoder block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width)
        self.feed = Feed(width)

    def forward(
        self, x: Tensor, past: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :class:`SelfAttention`."""
        y, memory = self.attention(x, past, mask)
        x = x + y
        return x + self.feed(x), memory


class Encoder(nn.Module):
    """PCM to frames, whole (training) or chunk by chunk (export), with the same result.

    A chunk that ends at sample s gives frames up to ``s / 320 - 2``: the newest window that fits
    has its centre 200 samples before s, and the two convolutions look one mel frame ahead each. So
    frame i of the output belongs to the sound around sample ``320 * (i - 1)``, and nothing waits
    for sound beyond the chunk.
    """

    table: Tensor

    def __init__(self, sizes: EncoderSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or EncoderSizes()
        width = self.sizes.width
        self.mel = LogMel()
        self.conv1 = nn.Conv1d(MELS, width, 3)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2)
        self.layers = nn.ModuleList(EncoderLayer(width) for _ in range(self.sizes.layers))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("table", sinusoids(self.sizes.positions, width), persistent=False)

    def first_state(self, batch: int = 1) -> State:
        """What the encoder remembers before any sound."""
        sizes = self.sizes
        silence = (FLOOR_MAXIMUM - 8.0 + 4.0) / 4.0
        state = {
            "pcm": torch.zeros(batch, WINDOW - HOP // 4),
            "maximum": torch.full((batch, 1, 1), FLOOR_MAXIMUM),
            "mel": torch.full((batch, MELS, 2), silence),
            "conv": torch.zeros(batch, sizes.width, 1),
            "position": torch.zeros(1, dtype=torch.int64),
        }
        for i in range(sizes.layers):
            state[f"layer{i}"] = torch.zeros(2, batch, sizes.width // HEAD, 0, HEAD)
        return state

    def step(self, pcm: Tensor, state: State) -> tuple[Tensor, State]:
        """One chunk: PCM [B, samples] and a state to frames [B, chunk, width] and the next."""
        sizes, after = self.sizes, {}
        pcm = torch.cat([state["pcm"], pcm], dim=1)
        after["pcm"] = pcm[:, -state["pcm"].shape[1] :]
        log_mel = self.mel(pcm)
        after["maximum"] = torch.maximum(state["maximum"], log_mel.amax((1, 2), keepdim=True))
        mel = torch.cat([state["mel"], normalise(log_mel, after["maximum"])], dim=2)
        after["mel"] = mel[:, :, -2:]
        x = torch.cat([state["conv"], functional.gelu(self.conv1(mel))], dim=2)
        after["conv"] = x[:, :, -1:]
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        where = (state["position"] + torch.arange(sizes.chunk)) % sizes.positions
        x = x + self.table[where]
        after["position"] = (state["position"] + sizes.chunk) % sizes.positions
        for i, layer in enumerate(self.layers):
            x, memory = layer(x, state[f"layer{i}"])
            after[f"layer{i}"] = memory[:, :, :, -sizes.context :]
        return self.norm(x), after

    def features(self, pcm: Tensor, chunk: int | None = None) -> Tensor:
        """The convolutions' output for whole PCM [B, samples]: [B, T, width], no positions.

        Args:
            pcm: as many whole chunks.
            chunk: frames per chunk over which the running maximum is taken; None for the maximum
                of the whole recording, as Whisper has it.
        """
        first = self.first_state(len(pcm))
        log_mel = self.mel(torch.cat([first["pcm"], pcm], dim=1))
        if chunk is None:
            maximum = log_mel.amax((1, 2), keepdim=True)
        else:
            chunks = log_mel.unflatten(2, (-1, 2 * chunk)).amax((1, 3))
            running = torch.maximum(chunks.cummax(1).values, first["maximum"][:, 0])
            maximum = running.repeat_interleave(2 * chunk, dim=1)[:, None]
        silence = first["mel"] if chunk else normalise(torch.full_like(first["mel"], -10), maximum)
        mel = torch.cat([silence, normalise(log_mel, maximum)], dim=2)
        if chunk is None:
            mel[:, :, 0] = 0.0  # Whisper's zero padding
        x = torch.cat([first["conv"], functional.gelu(self.conv1(mel))], dim=2)
        return functional.gelu(self.conv2(x)).transpose(1, 2)

    def forward(
        self, pcm: Tensor, chunk: int | None = None, taps: Sequence[int] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Whole PCM [B, samples] to frames [B, T, width].

        Args:
            chunk: frames per chunk; None attends to everything (the teacher).
            taps: layers whose output is wanted too.

        Returns:
            The frames, and the outputs of the layers in ``taps``.
        """
        x = self.features(pcm, chunk)
        x = x + self.table[torch.arange(x.shape[1]) % self.sizes.positions]
        mask = None if chunk is None else chunk_mask(x.shape[1], chunk, self.sizes.context)
        tapped = []
        for i, layer in enumerate(self.layers):
            x, _ = layer(x, None, mask)
            if i in taps:
                tapped.append(x)
        return self.norm(x), tapped


def chunk_mask(frames: int, chunk: int, context: int) -> Tensor:
    """Which frame attends to which: bool [frames, frames]."""
    index = torch.arange(frames)
    start = index // chunk * chunk
    return (index[None] < (start + chunk)[:, None]) & (index[None] >= (start - context)[:, None])


class DecoderLayer(nn.Module):
    """One decoder block: the tokens so far, then the frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed = Feed(width)

    def memory(self, frames: Tensor) -> Tensor:
        """Keys and values of frames [B, T, width]: [2, B, heads, T, 64]."""
        key, value = self.key_value(frames).chunk(2, dim=-1)
        return torch.stack([_heads(key), _heads(value)])

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        past: Tensor,
        mask: Tensor,
        hidden_frames: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend to the past, then to the frames.

        Args:
            x: [B, n, width].
            memory: of the frames, from :meth:`memory`.
            past: keys and values of earlier tokens [2, B, heads, p, 64].
            mask: bool [n, p + n].
            hidden_frames: bool [B, T], True for frames that are padding.

        Returns:
            The result, the next past, and the attention to the frames [B, heads, n, T].
        """
        y, past = self.attention(x, past, mask)
        x = x + y
        query = _heads(self.query(self.norm(x)))
        scores = query @ memory[0].transpose(2, 3) * HEAD**-0.5
        if hidden_frames is not None:
            scores = scores.masked_fill(hidden_frames[:, None, None], float("-inf"))
        attention = scores.float().softmax(-1)
        x = x + self.out(_merge(attention.to(memory.dtype) @ memory[1]))
        return x + self.feed(x), past, attention


class Decoder(nn.Module):
    """Frames to tokens: Whisper's text decoder with explicit state."""

    def __init__(
        self, sizes: DecoderSizes | None = None, alignment: Sequence[tuple[int, int]] = ((0, 0),)
    ) -> None:
        super().__init__()
        self.sizes = sizes or DecoderSizes()
        width = self.sizes.width
        self.alignment = [(int(layer), int(head)) for layer, head in alignment]
        # [width, vocabulary]: the layout of the output projection, which shares it.
        self.embedding = nn.Parameter(torch.randn(width, self.sizes.vocabulary) * 0.02)
        self.positions = nn.Parameter(torch.randn(self.sizes.positions, width) * 0.02)
        self.layers = nn.ModuleList(DecoderLayer(width) for _ in range(self.sizes.layers))
        self.norm = nn.LayerNorm(width)

    def memory(self, frames: Tensor) -> Tensor:
        """Cross-attention keys and values of frames [B, T, width]: [layers, 2, B, heads, T, 64]."""
        return torch.stack([layer.memory(frames) for layer in self.layers])

    def first_past(self, batch: int = 1) -> Tensor:
        """Keys and values before any token: [layers, 2, B, heads, 0, 64]."""
        sizes = self.sizes
        return torch.zeros(sizes.layers, 2, batch, sizes.width // HEAD, 0, HEAD)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        past: Tensor,
        hidden_frames: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read tokens int64 [B, n] after ``past``.

        Returns:
            Hidden states after the final norm [B, n, width], the next past, and the attention to
            the frames, averaged over the alignment heads [B, n, T].
        """
        before, count = past.shape[4], tokens.shape[1]
        x = self.embedding[:, tokens].permute(1, 2, 0)
        x = x + self.positions[before : before + count]
        places = torch.arange(count) + before
        mask = torch.arange(before + count)[None] <= places[:, None]
        after, looks = [], []
        for i, layer in enumerate(self.layers):
            x, cache, attention = layer(x, memory[i], past[i], mask, hidden_frames)
            after.append(cache)
            looks += [attention[:, head] for at, head in self.alignment if at == i]
        return self.norm(x), torch.stack(after), torch.stack(looks).mean(0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [B, n, width] to logits [B, n, vocabulary]."""
        return hidden @ self.embedding


def load_encoder(encoder: Encoder, weights: Weights) -> None:
    """Fill an encoder from Whisper's variables."""
    with torch.no_grad():
        for i, conv in enumerate((encoder.conv1, encoder.conv2), start=1):
            _set(conv.weight, weights[f"encoder/conv{i}/weight"])
            _set(conv.bias, weights[f"encoder/conv{i}/bias"])
        for i, layer in enumerate(encoder.layers):
            _load_self_attention(layer.attention, weights, f"encoder/layer_{i}/self_attention")
            _load_feed(layer.feed, weights, f"encoder/layer_{i}/ffn")
        _load_norm(encoder.norm, weights, "encoder/layer_norm")


def load_decoder(decoder: Decoder, weights: Weights) -> None:
    """Fill a decoder from Whisper's variables."""
    with torch.no_grad():
        _set(decoder.embedding, weights["decoder/embeddings/weight"].T)
        _set(decoder.positions, weights["decoder/position_encodings/encodings"])
        for i, layer in enumerate(decoder.layers):
            name = f"decoder/layer_{i}"
            _load_self_attention(layer.attention, weights, f"{name}/self_attention")
            _load_norm(layer.norm, weights, f"{name}/attention/layer_norm")
            for linear, part in ((layer.query, 0), (layer.key_value, 1), (layer.out, 2)):
                _load_linear(linear, weights, f"{name}/attention/linear_{part}")
            _load_feed(layer.feed, weights, f"{name}/ffn")
        _load_norm(decoder.norm, weights, "decoder/layer_norm")


def _load_self_attention(attention: SelfAttention, weights: Weights, name: str) -> None:
    _load_norm(attention.norm, weights, f"{name}/layer_norm")
    _load_linear(attention.qkv, weights, f"{name}/linear_0")
    _load_linear(attention.out, weights, f"{name}/linear_1")


def _load_feed(feed: Feed, weights: Weights, name: str) -> None:
    _load_norm(feed.norm, weights, f"{name}/layer_norm")
    _load_linear(feed.inner, weights, f"{name}/linear_0")
    _load_linear(feed.outer, weights, f"{name}/linear_1")


def _load_linear(linear: nn.Linear, weights: Weights, name: str) -> None:
    _set(linear.weight, weights[f"{name}/weight"])
    _set(linear.bias, weights[f"{name}/bias"])


def _load_norm(norm: nn.LayerNorm, weights: Weights, name: str) -> None:
    _set(norm.weight, weights[f"{name}/gamma"])
    _set(norm.bias, weights[f"{name}/beta"])


def _set(parameter: Tensor | None, value: NDArray[Any]) -> None:
    assert parameter is not None
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))
