"""Building blocks of the speech decoder. Every state is an argument and a result."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.speech.codec import Block


class FeedForward(nn.Module):
    """Two linear layers around a GELU, on normed input; added to the stream by the caller."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.gelu(self.up(self.norm(x))))


class BothWays(nn.Module):
    """A Transformer layer that attends to the whole text; distance is felt by a learned bias.

    Args:
        reach: distances beyond this many places share one bias.
    """

    def __init__(self, width: int, heads: int, inner: int, reach: int = 24) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
        self.feed_forward = FeedForward(width, inner)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, n, width]; mask [B, 1, n or 1, n], 0 where a place may look, else -1e4."""
        batch, length, width = x.shape
        q, k, v = (
            self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        places = torch.arange(length, device=x.device)
        distance = (places[None] - places[:, None]).clamp(-self.reach, self.reach) + self.reach
        bias = self.bias[:, distance] + mask
        scores = q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + bias
        y = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(y)
        return x + self.feed_forward(x)


class Causal(nn.Module):
    """A Transformer layer of the autoregressive decoder: each place attends to itself, to the
    ``window - 1`` places before it and to the prefix, whose keys carry no distance."""

    def __init__(self, width: int, heads: int, inner: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, window))
        self.feed_forward = FeedForward(width, inner)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, T, width / heads]."""
        batch, length, _ = x.shape
        q, k, v = (
            self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        return q * q.shape[-1] ** -0.5, k, v

    def forward(self, x: Tensor, prefix_k: Tensor, prefix_v: Tensor, prefix_mask: Tensor) -> Tensor:
        """A whole sequence.

        Args:
            x: [B, T, width].
            prefix_k: [B, heads, P, width / heads]; prefix_v likewise.
            prefix_mask: [B, 1, T, P], 0 where a place may attend to a prefix row, else -1e4.
        """
        q, k, v = self.split(x)
        places = torch.arange(x.shape[1], device=x.device)
        back = places[:, None] - places[None]
        bias = self.bias[:, back.clamp(0, self.window - 1)]
        bias = bias.masked_fill((back < 0) | (back >= self.window), -1e4)
        before = q @ prefix_k.transpose(2, 3) + prefix_mask
        scores = torch.cat([before, q @ k.transpose(2, 3) + bias], 3)
        return self._close(x, scores, torch.cat([prefix_v, v], 2))

    def step(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
        prefix_k: Tensor,
        prefix_v: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One place, with the window - 1 places before it as state.

        Args:
            x: [1, 1, width].
            keys: [1, heads, window - 1, width / heads], oldest first; values likewise.
            mask: [window], -1e4 for places before the beginning.

        Returns:
            The layer's output, and the next keys and values.
        """
        q, k, v = self.split(x)
        keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        bias = self.bias.flip(1)[None, :, None] + mask
        scores = torch.cat([q @ prefix_k.transpose(2, 3), q @ keys.transpose(2, 3) + bias], 3)
        y = self._close(x, scores, torch.cat([prefix_v, values], 2))
        return y, keys[:, :, 1:], values[:, :, 1:]

    def _close(self, x: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        y = torch.softmax(scores.float(), -1).to(values.dtype) @ values
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        return x + self.feed_forward(x)


class TextNetwork(nn.Module):
    """Characters to slots: what is said at each of two slots per character, and for how long."""

    def __init__(self, characters: int, units: int, width: int = 256, layers: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.front = nn.ModuleList([Block(width, 5) for _ in range(2)])
        self.layers = nn.ModuleList([BothWays(width, 4, 3 * width) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.slots = nn.Linear(width, 2 * width)
        self.units = nn.Linear(width, units + 1)
        self.duration = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, 1))
        nn.init.constant_(self.duration[2].bias, 1.0)

    def forward(self, characters: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Characters [B, n] (0 pads) to slots [B, 2 n, width] and durations [B, 2 n] in codes.

        ``mask`` [B, 1, n, n] keeps texts apart that stand in one row, at least two places of
        padding between them.
        """
        there = (characters > 0).to(self.embedding.weight.dtype)[:, :, None]
        x = self.embedding(characters) * there
        for block in self.front:
            x = block(x.transpose(1, 2)).transpose(1, 2) * there
        if mask is None:
            mask = (there[:, None, None, :, 0] - 1) * 1e4
        for layer in self.layers:
            x = layer(x, mask)
        x = self.slots(self.norm(x))
        x = x.reshape(x.shape[0], 2 * characters.shape[1], -1)
        durations = functional.softplus(self.duration(x).float()).squeeze(2)
        return x, durations * there[:, :, 0].repeat_interleave(2, 1)


class FrameNetwork(nn.Module):
    """Slots and their durations to one feature for each code."""

    def __init__(self, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.place = nn.Linear(3, width)
        self.blocks = nn.ModuleList([Block(width, 5) for _ in range(blocks)])
        self.close = nn.LayerNorm(width)

    def forward(
        self, slots: Tensor, durations: Tensor, frames: Tensor, there: Tensor | None = None
    ) -> Tensor:
        """Spread slots over time.

        Args:
            slots: [B, S, width].
            durations: [B, S] in codes.
            frames: [T], 0 1 2 ..., one for each code.
            there: [B, T, 1], 0 in the gaps between texts that stand in one row, else 1.

        Returns:
            [B, T, width]: for each code the mean of the slots under it, where in them it is, and
            its neighbours.
        """
        ends = durations.cumsum(1)
        starts = ends - durations
        t = frames[None, :, None].to(durations.dtype)
        under = (torch.minimum(ends[:, None], t + 1) - torch.maximum(starts[:, None], t)).clamp_min(
            0
        )
        middle = t + 0.5
        since = ((middle - starts[:, None]) * under).sum(2)
        until = ((ends[:, None] - middle) * under).sum(2)
        place = torch.stack([since, until, since + until], 2) * 0.2
        x = (under @ self.norm(slots).to(under.dtype)).to(slots.dtype)
        x = x + self.place(place.clamp(-4, 4).to(slots.dtype))
        for block in self.blocks:
            if there is not None:
                x = x * there
            x = block(x.transpose(1, 2)).transpose(1, 2)
        return self.close(x)


class PrefixNetwork(nn.Module):
    """The LLM's hidden states to keys and values that stand before the decoder's own."""

    def __init__(self, hidden: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads, self.layers = heads, layers
        self.enter = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width))
        self.layer = BothWays(width, heads, 2 * width)
        self.close = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, layers * 2 * width))

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, P, hidden], mask [B, 1, 1, P] (0 or -1e4), to keys and values
        [layers, B, heads, P, width / heads]."""
        x = self.close(self.layer(self.enter(hidden), mask))
        x = x.view(*x.shape[:2], self.layers, 2, self.heads, -1).permute(3, 2, 0, 4, 1, 5)
        return x[0], x[1]
