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
        ahead: chunks behind it that a chunk is encoded with for good.
        context: encoder frames of the past that a chunk can attend to.
    """

    width: int = 512
    layers: int = 6
    positions: int = 1500
    chunk: int = 16
    ahead: int = 5
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

    Every chunk is encoded at once, so that tokens can be read in it without delay; then again with
    each of the ``ahead`` chunks after it, whose sound makes it clearer, the last time for good.
    Only that form is remembered by later chunks. At the end of a turn the newest chunks are used as
    they are, so the look ahead costs no waiting.

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
            "chunk": torch.zeros(batch, 0, sizes.width),
        }
        for i in range(sizes.layers):
            state[f"layer{i}"] = torch.zeros(2, batch, sizes.width // HEAD, 0, HEAD)
        return {name: value.to(self.table.device) for name, value in state.items()}

    def step(self, pcm: Tensor, state: State) -> tuple[Tensor, State]:
        """Encode one chunk.

        Args:
            pcm: [B, samples].

        Returns:
            The frames of the chunk ``ahead`` chunks before, for good, and of those since, for now:
            [B, (ahead + 1) * chunk, width] (only what there is at the beginning, for now); and the
            next state.
        """
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
        within = torch.arange(sizes.chunk, device=x.device)
        where = (state["position"] + within) % sizes.positions
        x = torch.cat([state["chunk"], x + self.table[where]], dim=1)
        newest = sizes.ahead * sizes.chunk
        after["chunk"] = x[:, -newest:]
        after["position"] = (state["position"] + sizes.chunk) % sizes.positions
        for i, layer in enumerate(self.layers):
            x, memory = layer(x, state[f"layer{i}"])
            after[f"layer{i}"] = memory[:, :, :, :-newest][:, :, :, -sizes.context :]
        return self.norm(x), after

    def features(self, pcm: Tensor, streaming: bool) -> Tensor:
        """What the layers get of whole PCM [B, samples]: [B, T, width].

        Args:
            pcm: as many whole chunks.
            streaming: take the running maximum, chunk by chunk; otherwise the maximum of the whole
                recording, as Whisper does.
        """
        first = self.first_state(len(pcm))
        log_mel = self.mel(torch.cat([first["pcm"], pcm], dim=1))
        if not streaming:
            maximum = log_mel.amax((1, 2), keepdim=True)
        else:
            chunk = self.sizes.chunk
            chunks = log_mel.unflatten(2, (-1, 2 * chunk)).amax((1, 3))
            running = torch.maximum(chunks.cummax(1).values, first["maximum"][:, 0])
            maximum = running.repeat_interleave(2 * chunk, dim=1)[:, None]
        mel = torch.cat([first["mel"], normalise(log_mel, maximum)], dim=2)
        if not streaming:
            mel[:, :, 0] = 0.0  # Whisper's zero padding
            mel[:, :, 1] = normalise(mel.new_tensor(-10.0), maximum)[:, 0]
        x = torch.cat([first["conv"], functional.gelu(self.conv1(mel))], dim=2)
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        places = torch.arange(x.shape[1], device=x.device)
        return x + self.table[places % self.sizes.positions]

    def forward(
        self, pcm: Tensor, mask: Tensor | None = None, taps: Sequence[int] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Whole PCM [B, samples] to frames [B, T, width].

        Args:
            mask: which frame attends to which, bool [T, T] or [B, 1, T, T]; None attends to
                everything (Whisper).
            taps: layers whose output is wanted too.

        Returns:
            The frames, and the outputs of the layers in ``taps``.
        """
        x = self.features(pcm, mask is not None)
        tapped = []
        for i, layer in enumerate(self.layers):
            x, _ = layer(x, None, mask)
            if i in taps:
                tapped.append(x)
        return self.norm(x), tapped

    def stages(self, pcm: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`step` gives for whole PCM [B, samples], at once.

        Returns:
            ``ahead + 1`` times frames [B, T, width]: for good, with one chunk less behind them, and
            so on to each chunk as it is when it is the newest. Stage i begins with chunk i; what
            stands before it in the tensor, and chunks whose look ahead the sound does not fill,
            no step gives.
        """
        x = self.features(pcm, streaming=True)
        count = self.sizes.ahead + 1
        mask = stages_mask(x.shape[1], self.sizes.chunk, self.sizes.context, self.sizes.ahead)
        mask = mask.to(x.device)
        x = torch.cat([x] * count, dim=1)
        for layer in self.layers:
            x, _ = layer(x, None, mask)
        return self.norm(x).chunk(count, dim=1)


def chunk_mask(frames: int, chunk: int, context: int, offset: int = 0) -> Tensor:
    """Which frame attends to which in chunks that begin at ``offset``: bool [frames, frames]."""
    index = torch.arange(frames)
    start = (index - offset).div(chunk, rounding_mode="floor") * chunk + offset
    return (index[None] < (start + chunk)[:, None]) & (index[None] >= (start - context)[:, None])


def stages_mask(frames: int, chunk: int, context: int, ahead: int) -> Tensor:
    """The same for the stages of :meth:`Encoder.stages`, one behind the other: bool [sT, sT].

    A chunk at stage i belongs to the window that begins i chunks before it. It sees the chunks of
    its window, each at the stage that it has there, and those before the window for good.
    """
    place = torch.arange(frames).repeat(ahead + 1) // chunk
    stage = torch.arange(ahead + 1).repeat_interleave(frames)
    behind = place[None] - (place - stage)[:, None]  # chunks behind the beginning of the window
    return (behind == stage[None]) | (
        (stage[None] == 0) & (behind < 0) & (behind >= -(context // chunk))
    )
