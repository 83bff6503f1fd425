"""Whisper's variables put into the modules of this package."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.hearing.decoder import Decoder
from train.hearing.encoder import Encoder
from train.hearing.layers import Feed, SelfAttention

Weights = dict[str, NDArray[Any]]


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
