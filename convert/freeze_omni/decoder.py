"""The speech decoder: three stacks of Llama layers of one width, and an embedding of codes.

A non-autoregressive pre-network over the text's LLM embeddings, a non-autoregressive prefix network
over the LLM's hidden states, and the autoregressive decoder whose keys and values begin with the
prefix's (Freeze-Omni, section 2.3). Vectors of the LLM are several of the decoder's, one behind the
other: 3584 are 4 of 896.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.freeze_omni import config

EXTRA = 4
"""Codes behind the codec's: begin of text, begin of speech, end, padding."""
BASE = 10000.0


class Norm(nn.Module):
    """Root mean square norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Over the last dimension."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Attention(nn.Module):
    """Attention with rotary positions; whatever is given is attended to."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turns: tuple[Tensor, Tensor], keys: Tensor | None, values: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x [n, width]; keys and values [heads, t, size] before it; all of them afterwards."""
        q, k = (
            turned(self._split(self.q_proj(x)), turns),
            turned(self._split(self.k_proj(x)), turns),
        )
        v = self._split(self.v_proj(x))
        keys = k if keys is None else torch.cat([keys, k], 1)
        values = v if values is None else torch.cat([values, v], 1)
        weights = (q @ keys.transpose(1, 2) / math.sqrt(self.size)).softmax(-1)
        x = (weights @ values).transpose(0, 1).reshape(-1, self.heads * self.size)
        return self.o_proj(x), keys, values

    def _split(self, x: Tensor) -> Tensor:
        return x.view(-1, self.heads, self.size).transpose(0, 1)


class FeedForward(nn.Module):
    """Llama's gated layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Row by row."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """A Llama layer."""

    def __init__(self, sizes: config.Speaking) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width, sizes.heads)
        self.mlp = FeedForward(sizes.width, sizes.feed_forward)
        self.input_layernorm = Norm(sizes.width)
        self.post_attention_layernorm = Norm(sizes.width)

    def forward(
        self,
        x: Tensor,
        turns: tuple[Tensor, Tensor],
        keys: Tensor | None = None,
        values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Attention`."""
        heard, keys, values = self.self_attn(self.input_layernorm(x), turns, keys, values)
        x = x + heard
        return x + self.mlp(self.post_attention_layernorm(x)), keys, values


class Decoder(nn.Module):
    """All of it; its methods are the graphs."""

    def __init__(self, sizes: config.Speaking) -> None:
        super().__init__()
        self.sizes = sizes
        stacks = {"layers_pre_nn": sizes.layers // 2, "layers": sizes.layers}
        if sizes.prefix:
            stacks["layers_prefix"] = sizes.layers
        for name, count in stacks.items():
            setattr(self, name, nn.ModuleList(Layer(sizes) for _ in range(count)))
        self.embedding = nn.Embedding(sizes.odim + EXTRA, sizes.width)
        self.norm = Norm(sizes.width)
        self.out_fnn = nn.Linear(sizes.width, sizes.odim + EXTRA)

    def prefix(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The LLM's hidden states [1, n, llm_width] to keys and values [layers, heads, p, size]."""
        x = hidden.reshape(-1, self.sizes.width)
        _, keys, values = self._all(self.layers_prefix, x, self._turns(torch.arange(x.shape[0])))
        return keys, values

    def text(self, embeddings: Tensor) -> Tensor:
        """The text's embeddings [1, n, llm_width] to what the decoder reads first [1, m, width]."""
        x = embeddings.reshape(-1, self.sizes.width)
        x = self._all(self.layers_pre_nn, x, self._turns(torch.arange(x.shape[0])))[0]
        begin = self.embedding.weight[self.sizes.odim]
        return torch.cat([begin[None], x])[None]

    def step(
        self, rows: Tensor, code: Tensor, keys: Tensor, values: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The text or a code, behind what came before, to scores of the code that comes next.

        Text sees all of itself; it counts positions from 0, as the prefix does.

        Args:
            rows: of :meth:`text` [1, m, width]; none, once codes have begun.
            code: int64 [1, n]; none while the text is read.
            keys, values: [layers, heads, t, size]; the prefix's before the text.
            position: int64 [1], how many rows and codes there were.

        Returns:
            Scores [1, codes + 4]; then keys, values and position as they are now.
        """
        x = torch.cat([rows[0], self.embedding(code[0])])
        turns = self._turns(position + torch.arange(x.shape[0]))
        x, keys, values = self._all(self.layers, x, turns, keys, values)
        return self.out_fnn(self.norm(x[-1:])), keys, values, position + x.shape[0]

    @staticmethod
    def _all(
        layers: nn.ModuleList,
        x: Tensor,
        turns: tuple[Tensor, Tensor],
        keys: Tensor | None = None,
        values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        after = []
        for number, layer in enumerate(layers):
            before = () if keys is None or values is None else (keys[number], values[number])
            x, *kept = layer(x, turns, *before)
            after.append(kept)
        return x, torch.stack([k for k, _ in after]), torch.stack([v for _, v in after])

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [n, size] of rotary positions."""
        size = self.sizes.width // self.sizes.heads
        rates = BASE ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
        angles = positions[:, None].to(torch.float32) * rates
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


def turned(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """x [heads, n, size], each pair of halves turned by its position."""
    first, second = x.chunk(2, dim=-1)
    return x * turns[0] + torch.cat([-second, first], -1) * turns[1]
