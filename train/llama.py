"""A frozen llama-architecture LLM in torch, out of its GGUF file, for gradients to pass through.

Only what training through the LLM needs: logits for whole sequences of embeddings. llama.cpp's
converter has permuted the rows of the query and key projections; the rotation therefore turns the
pairs (2i, 2i + 1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor
from torch.nn import functional


class Llama:
    """The LLM's weights, dequantised once, and its forward pass.

    Args:
        path: a GGUF file of the architecture ``llama``.
        dtype: of the weights; norms stay in 32 bits.

    Raises:
        ValueError: the file holds another architecture.
    """

    def __init__(self, path: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        reader = GGUFReader(path)

        def value(name: str) -> float:
            return float(reader.fields[name].contents())

        architecture = reader.fields["general.architecture"].contents()
        if architecture != "llama":
            raise ValueError(f"{path} is of the architecture {architecture}, not llama")
        self.layers = int(value("llama.block_count"))
        self.heads = int(value("llama.attention.head_count"))
        self.groups = int(value("llama.attention.head_count_kv"))
        self.base = value("llama.rope.freq_base")
        self.epsilon = value("llama.attention.layer_norm_rms_epsilon")
        self.weights: dict[str, Tensor] = {}
        for tensor in reader.tensors:
            array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
            kind = torch.float32 if array.ndim == 1 else dtype
            self.weights[tensor.name] = torch.tensor(array, dtype=kind)
        self.embeddings = self.weights["token_embd.weight"]
        self.width = self.embeddings.shape[1]

    def __call__(self, x: Tensor, shown: Tensor, answer: int) -> Tensor:
        """Logits of the last places.

        Args:
            x: embeddings [B, n, width], padded on the left.
            shown: bool [B, n], False for padding.
            answer: for how many of the last places logits are wanted.

        Returns:
            Logits float32 [B, answer, vocabulary].
        """
        n = x.shape[1]
        x = x.to(self.embeddings.dtype)
        places = shown.cumsum(1) - 1
        mask = torch.ones(n, n, dtype=torch.bool).tril() & shown[:, None]
        mask = (mask | torch.eye(n, dtype=torch.bool))[:, None]
        size = self.width // self.heads
        turns = self.base ** (-torch.arange(0, size, 2) / size)
        angles = places.clamp(min=0)[:, None, :, None] * turns
        sine, cosine = angles.sin(), angles.cos()
        for i in range(self.layers):
            layer = f"blk.{i}."
            y = self._norm(x, layer + "attn_norm")
            query = _rotate(self._split(y, layer + "attn_q", self.heads), sine, cosine)
            key = _rotate(self._split(y, layer + "attn_k", self.groups), sine, cosine)
            read = self._split(y, layer + "attn_v", self.groups)
            y = functional.scaled_dot_product_attention(
                query, key, read, attn_mask=mask, enable_gqa=True
            )
            x = x + self._linear(y.transpose(1, 2).flatten(2), layer + "attn_output")
            y = self._norm(x, layer + "ffn_norm")
            gate = functional.silu(self._linear(y, layer + "ffn_gate"))
            x = x + self._linear(gate * self._linear(y, layer + "ffn_up"), layer + "ffn_down")
        x = self._norm(x[:, -answer:], "output_norm")
        return (x @ self.weights.get("output.weight", self.embeddings).T).float()

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[name + ".weight"].T

    def _split(self, x: Tensor, name: str, heads: int) -> Tensor:
        return self._linear(x, name).unflatten(2, (heads, -1)).transpose(1, 2)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weights[name + ".weight"]).to(x.dtype)


def _rotate(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2).to(x.dtype)
