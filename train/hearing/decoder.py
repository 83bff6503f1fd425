"""The token decoder in torch, for training and export: Whisper's, with explicit state.

Shapes: B batch, T encoder frames, n tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.hearing.layers import HEAD, Feed, SelfAttention, heads, merge


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of the token decoder."""

    width: int = 512
    layers: int = 6
    positions: int = 448
    vocabulary: int = 51865


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
        return torch.stack([heads(key), heads(value)])

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
        query = heads(self.query(self.norm(x)))
        scores = query @ memory[0].transpose(2, 3) * HEAD**-0.5
        if hidden_frames is not None:
            scores = scores.masked_fill(hidden_frames[:, None, None], float("-inf"))
        attention = scores.float().softmax(-1)
        x = x + self.out(merge(attention.to(memory.dtype) @ memory[1]))
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
        shape = sizes.layers, 2, batch, sizes.width // HEAD, 0, HEAD
        return torch.zeros(shape, device=self.embedding.device)

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
        places = torch.arange(count, device=x.device) + before
        mask = torch.arange(before + count, device=x.device)[None] <= places[:, None]
        after, looks = [], []
        for i, layer in enumerate(self.layers):
            x, cache, attention = layer(x, memory[i], past[i], mask, hidden_frames)
            after.append(cache)
            looks += [attention[:, head] for at, head in self.alignment if at == i]
        return self.norm(x), torch.stack(after), torch.stack(looks).mean(0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [B, n, width] to logits [B, n, vocabulary]."""
        return hidden @ self.embedding
