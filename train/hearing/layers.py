"""Parts that Whisper's encoder and decoder share: pre-norm blocks with heads of 64.

Shapes: B batch, n places in a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 64


def heads(x: Tensor) -> Tensor:
    """[B, n, width] to [B, heads, n, 64]."""
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


def merge(x: Tensor) -> Tensor:
    """[B, heads, n, 64] to [B, n, width]."""
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
        query, key, value = (heads(part) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        memory = torch.stack([key, value])
        if past is not None:
            memory = torch.cat([past, memory], dim=3)
        y = functional.scaled_dot_product_attention(query, memory[0], memory[1], attn_mask=mask)
        return self.out(merge(y)), memory
