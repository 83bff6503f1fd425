"""The streaming speech encoder in torch, for training and export.

Whisper's layers (Radford et al. 2022, arXiv:2212.04356, section 2.2). What is new is how it sees
sound: chunk by chunk, each attending to itself and to a bounded past, with every piece of state
explicit. Shapes: B batch, T frames (50 per second).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from train.hearing.front_end import FLOOR_MAXIMUM, HOP, MELS, WINDOW, LogMel, normalise
from train.hearing.layers import HEAD, Feed, SelfAttention

State = dict[str, Tensor]
FRAME = 2 * HOP


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


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's encoder positions: [length, width]."""
    scales = torch.exp(-np.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * scales[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


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
