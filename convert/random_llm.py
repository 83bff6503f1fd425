"""A GGUF LLM with random weights, of any size: its words are noise, its speed and memory are real.

python -m convert.random_llm FILE.gguf --width 128
python -m convert.random_llm FILE.gguf --published
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

from convert.vocabulary import Vocabulary
from edge_omni.bundle import Bundle

_KERNEL, _STATE, _RANK = 4, 16, 32
Matrix = Callable[[int, int], NDArray[np.generic]]


@dataclass(frozen=True)
class Sizes:
    """Of a model: small, unless told otherwise. 0 words: as many as the tokenizer has."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    groups: int = 2
    inner: int = 256
    words: int = 0


PUBLISHED = Sizes(width=3584, layers=28, heads=28, groups=4, inner=18944, words=152064)
"""Qwen2-7B's shape."""

ARCHITECTURES = ("qwen2", "qwen2vl", "llama", "gemma3", "mamba")


def write(
    path: Path,
    sizes: Sizes,
    tokenizer: Path | Vocabulary,
    seed: int = 0,
    kind: str = "Q4_0",
    *,
    architecture: str = "qwen2",
    tied: bool = False,
    parts: int = 1,
) -> None:
    """Write a model.

    Every layer holds the same random weights: what they are makes no difference to their cost.

    Args:
        tokenizer: a vocabulary, or a GGUF file with a byte-pair tokenizer and chat markers.
        kind: of quantisation, of the matrices: F32, F16, Q8_0, Q4_0 or another that ``gguf.quants``
            can write.
        architecture: one of ``ARCHITECTURES``.
        tied: whether the embeddings are the output matrix too.
        parts: how many files to split it into, ``NAME-00001-of-0000N.gguf`` for ``NAME.gguf``.
    """
    vocabulary = Vocabulary.of(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    vocabulary = vocabulary.filled(sizes.words)
    dice, wanted = np.random.default_rng(seed), gguf.GGMLQuantizationType[kind]

    def matrix(rows: int, columns: int) -> NDArray[np.generic]:
        values = dice.standard_normal((rows, columns), np.float32) / np.sqrt(columns)
        return quantize(values, wanted)

    layer = _layer(architecture, sizes, matrix)
    words = len(vocabulary.tokens)
    tensors = {
        "token_embd.weight": matrix(words, sizes.width),
        "output_norm.weight": np.ones(sizes.width, np.float32),
        **({} if tied else {"output.weight": matrix(words, sizes.width)}),
        **{f"blk.{n}.{name}": array for n in range(sizes.layers) for name, array in layer.items()},
    }
    a_file = -(-len(tensors) // parts)
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=0 if parts == 1 else a_file)
    vocabulary.add_to(writer)
    _describe(writer, architecture, sizes)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=wanted if array.dtype == np.uint8 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, architecture: str, sizes: Sizes) -> None:
    """Write the metadata of the architecture."""
    writer.add_name("random")
    writer.add_context_length(4096)
    writer.add_embedding_length(sizes.width)
    writer.add_block_count(sizes.layers)
    writer.add_feed_forward_length(sizes.inner)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.groups)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    if architecture == "qwen2vl":
        eighth = sizes.width // sizes.heads // 8
        writer.add_rope_dimension_sections([eighth, eighth, 2 * eighth, 0])
    if architecture == "mamba":
        writer.add_ssm_conv_kernel(_KERNEL)
        writer.add_ssm_inner_size(2 * sizes.width)
        writer.add_ssm_state_size(_STATE)
        writer.add_ssm_time_step_rank(_RANK)
    if architecture == "llama":
        writer.add_rope_dimension_count(sizes.width // sizes.heads)
    if architecture == "gemma3":
        writer.add_key_length(sizes.width // sizes.heads)
        writer.add_value_length(sizes.width // sizes.heads)
        writer.add_sliding_window(512)


def _layer(architecture: str, sizes: Sizes, matrix: Matrix) -> dict[str, NDArray[np.generic]]:
    """The tensors of one layer."""
    if architecture == "mamba":
        return _mamba_layer(sizes.width, 2 * sizes.width, matrix)
    head = sizes.width // sizes.heads
    small = head * sizes.groups
    layer: dict[str, NDArray[np.generic]] = {
        "attn_norm.weight": np.ones(sizes.width, np.float32),
        "attn_q.weight": matrix(sizes.width, sizes.width),
        "attn_k.weight": matrix(small, sizes.width),
        "attn_v.weight": matrix(small, sizes.width),
        "attn_output.weight": matrix(sizes.width, sizes.width),
        "ffn_norm.weight": np.ones(sizes.width, np.float32),
        "ffn_gate.weight": matrix(sizes.inner, sizes.width),
        "ffn_up.weight": matrix(sizes.inner, sizes.width),
        "ffn_down.weight": matrix(sizes.width, sizes.inner),
    }
    if architecture in ("qwen2", "qwen2vl"):
        layer["attn_q.bias"] = np.zeros(sizes.width, np.float32)
        layer["attn_k.bias"] = layer["attn_v.bias"] = np.zeros(small, np.float32)
    if architecture == "gemma3":
        layer["attn_q_norm.weight"] = layer["attn_k_norm.weight"] = np.ones(head, np.float32)
        layer["post_attention_norm.weight"] = np.ones(sizes.width, np.float32)
        layer["post_ffw_norm.weight"] = np.ones(sizes.width, np.float32)
    return layer


def _mamba_layer(width: int, inner: int, matrix: Matrix) -> dict[str, NDArray[np.generic]]:
    """The tensors of one layer with a running state instead of attention."""
    return {
        "attn_norm.weight": np.ones(width, np.float32),
        "ssm_in.weight": matrix(2 * inner, width),
        "ssm_conv1d.weight": np.full((inner, _KERNEL), 1 / _KERNEL, np.float32),
        "ssm_conv1d.bias": np.zeros(inner, np.float32),
        "ssm_x.weight": matrix(_RANK + 2 * _STATE, inner),
        "ssm_dt.weight": matrix(inner, _RANK),
        "ssm_dt.bias": np.zeros(inner, np.float32),
        "ssm_a": -np.ones((inner, _STATE), np.float32),
        "ssm_d": np.ones(inner, np.float32),
        "ssm_out.weight": matrix(width, inner),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--width", type=int, default=Sizes.width)
    parser.add_argument("--layers", type=int, default=Sizes.layers)
    parser.add_argument("--published", action="store_true", help="Qwen2-7B's shape, 4 GB")
    parser.add_argument("--tokenizer", type=Path, help="GGUF file; the default bundle's LLM")
    parser.add_argument("--kind", choices=("F16", "Q8_0", "Q4_0"), default="Q4_0")
    options = parser.parse_args()
    sizes = PUBLISHED
    if not options.published:
        sizes = Sizes(width=options.width, layers=options.layers, inner=2 * options.width)
    write(options.file, sizes, options.tokenizer or Bundle().find_llm(), kind=options.kind)
    print(f"{options.file}: a random LLM, {options.file.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
