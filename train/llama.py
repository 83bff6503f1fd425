"""A frozen LLM in torch, out of its GGUF file, to measure a pipeline in torch with.

Only what that needs: hidden states and logits of sequences of embeddings, of the architectures
``llama`` and ``qwen2``. They differ in two things. The converter of ``llama`` has permuted the rows
of the query and key projections, so that the rotation turns the pairs (2i, 2i + 1); that of
``qwen2`` has not, and it turns the pairs (i, i + half). And ``qwen2`` has biases on query, key and
value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor
from torch.nn import functional

from edge_omni.errors import LLMError

ARCHITECTURES = ("llama", "qwen2")


@dataclass(frozen=True)
class Past:
    """Keys and values of tokens before, of each layer: [1, groups, p, size]."""

    keys: list[Tensor]
    values: list[Tensor]


class Llama:
    """The LLM's weights, dequantised once, and its forward pass.

    Args:
        path: a GGUF file of one of ``ARCHITECTURES``.
        dtype: of the weights; norms and biases stay in 32 bits.
        device: where to compute; the GPU if there is one when None.

    Raises:
        LLMError: the file holds another architecture, or a kind of it that is not known here.
    """

    def __init__(
        self, path: Path, dtype: torch.dtype = torch.bfloat16, device: torch.device | None = None
    ) -> None:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())

        def value(name: str, default: float | None = None) -> float:
            field = reader.fields.get(f"{architecture}.{name}")
            if field is None and default is not None:
                return default
            return float(reader.fields[f"{architecture}.{name}"].contents())

        if architecture not in ARCHITECTURES or value("expert_count", 0):
            raise LLMError(
                f"{path} is an LLM of the architecture {architecture}; in torch there are only "
                f"{' and '.join(ARCHITECTURES)}, without experts."
            )
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.layers = int(value("block_count"))
        self.heads = int(value("attention.head_count"))
        self.groups = int(value("attention.head_count_kv", self.heads))
        self.epsilon = value("attention.layer_norm_rms_epsilon")
        self.rotate = _rotate_neighbours if architecture == "llama" else _rotate_halves
        self.weights: dict[str, Tensor] = {}
        for tensor in reader.tensors:
            array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
            kind = torch.float32 if array.ndim == 1 else dtype
            self.weights[tensor.name] = torch.tensor(array, dtype=kind, device=self.device)
        self.embeddings = self.weights["token_embd.weight"]
        self.width = self.embeddings.shape[1]
        size = int(value("attention.key_length", self.width // self.heads))
        turns = value("rope.freq_base", 10000.0) ** (-torch.arange(0, size, 2) / size)
        factors = self.weights.get("rope_freqs.weight")
        self.turns = turns.to(self.device) / (1 if factors is None else factors)

    @torch.no_grad()
    def past(self, tokens: list[int]) -> Past:
        """What the LLM remembers of tokens that stand before every sequence."""
        past = Past([], [])
        self.read(self.embeddings[tokens][None], past)
        return past

    @torch.no_grad()
    def read(self, x: Tensor, past: Past) -> Tensor:
        """Read on, one sequence without padding.

        Args:
            x: embeddings [1, n, width].
            past: what was read before; grows by these.

        Returns:
            Hidden states behind each, after the last norm: [1, n, width].
        """
        new = Past([], [])
        shown = torch.ones(x.shape[:2], dtype=torch.bool, device=self.device)
        x = self._read(x.to(self.embeddings.dtype), shown, past if past.keys else None, new)
        for known, more in ((past.keys, new.keys), (past.values, new.values)):
            known[:] = (
                [torch.cat(pair, 2) for pair in zip(known, more, strict=True)] if known else more
            )
        return self._norm(x, "output_norm")

    @property
    def output(self) -> Tensor:
        """What tells tokens from hidden states: [vocabulary, width]."""
        return self.weights.get("output.weight", self.embeddings)

    def __call__(self, x: Tensor, shown: Tensor, answer: int, before: Past | None = None) -> Tensor:
        """Logits of the last places.

        Args:
            x: embeddings [B, n, width], padded on the left.
            shown: bool [B, n], False for padding.
            answer: for how many of the last places logits are wanted.
            before: tokens that stand before each sequence.

        Returns:
            Logits float32 [B, answer, vocabulary].
        """
        x = self._read(x.to(self.embeddings.dtype), shown, before, None)
        x = self._norm(x[:, -answer:], "output_norm")
        return (x @ self.output.T).float()

    def _read(self, x: Tensor, shown: Tensor, before: Past | None, after: Past | None) -> Tensor:
        """Through all layers; keys and values are left in ``after``."""
        batch, n, _ = x.shape
        length = 0 if before is None else before.keys[0].shape[2]
        mask = torch.ones(n, n, dtype=torch.bool, device=x.device).tril() & shown[:, None]
        mask = mask | torch.eye(n, dtype=torch.bool, device=x.device)
        mask = functional.pad(mask, (length, 0), value=True)[:, None]
        places = length + (shown.cumsum(1) - 1).clamp(min=0)
        angles = places[:, None, :, None] * self.turns
        sine, cosine = angles.sin(), angles.cos()
        for i in range(self.layers):
            layer = f"blk.{i}."
            y = self._norm(x, layer + "attn_norm")
            query = self.rotate(self._split(y, layer + "attn_q", self.heads), sine, cosine)
            key = self.rotate(self._split(y, layer + "attn_k", self.groups), sine, cosine)
            read = self._split(y, layer + "attn_v", self.groups)
            if after is not None:
                after.keys.append(key)
                after.values.append(read)
            if before is not None:
                key = torch.cat([before.keys[i].expand(batch, -1, -1, -1), key], 2)
                read = torch.cat([before.values[i].expand(batch, -1, -1, -1), read], 2)
            y = functional.scaled_dot_product_attention(
                query, key, read, attn_mask=mask, enable_gqa=True
            )
            x = x + self._linear(y.transpose(1, 2).flatten(2), layer + "attn_output")
            y = self._norm(x, layer + "ffn_norm")
            gate = functional.silu(self._linear(y, layer + "ffn_gate"))
            x = x + self._linear(gate * self._linear(y, layer + "ffn_up"), layer + "ffn_down")
        return x

    def _linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else (y.float() + bias).to(y.dtype)

    def _split(self, x: Tensor, name: str, heads: int) -> Tensor:
        return self._linear(x, name).unflatten(2, (heads, -1)).transpose(1, 2)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weights[name + ".weight"]).to(x.dtype)


def _rotate_neighbours(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _rotate_halves(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    first, second = (half.float() for half in x.chunk(2, -1))
    turned = torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
    return turned.to(x.dtype)
