"""A GGUF LLM with random weights, of any size: its words are noise, its speed and memory are real.

python -m convert.freeze_omni.random_llm FILE.gguf --width 128
python -m convert.freeze_omni.random_llm FILE.gguf --published
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

from edge_omni.bundle import Bundle


@dataclass(frozen=True)
class Sizes:
    """Of a Qwen2 model: small, unless told otherwise. 0 words: as many as the tokenizer has."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    groups: int = 2
    inner: int = 256
    words: int = 0


PUBLISHED = Sizes(width=3584, layers=28, heads=28, groups=4, inner=18944, words=152064)
"""Qwen2-7B's shape."""


def write(path: Path, sizes: Sizes, tokenizer: Path, seed: int = 0, kind: str = "Q4_0") -> None:
    """Write a model with a tokenizer borrowed from another one.

    Every layer holds the same random weights: what they are makes no difference to their cost.

    Args:
        tokenizer: a GGUF file with a byte-pair tokenizer and chat markers.
        kind: of quantisation, of the matrices: F16, Q8_0 or Q4_0.
    """
    writer = gguf.GGUFWriter(path, "qwen2")
    words = _copy_tokenizer(writer, tokenizer, sizes.words)
    writer.add_name("random")
    writer.add_context_length(4096)
    writer.add_embedding_length(sizes.width)
    writer.add_block_count(sizes.layers)
    writer.add_feed_forward_length(sizes.inner)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.groups)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    dice, wanted = np.random.default_rng(seed), gguf.GGMLQuantizationType[kind]

    def matrix(rows: int, columns: int) -> NDArray[np.generic]:
        values = dice.standard_normal((rows, columns), np.float32) / np.sqrt(columns)
        return quantize(values, wanted)

    small = sizes.width // sizes.heads * sizes.groups
    layer = {
        "attn_norm.weight": np.ones(sizes.width, np.float32),
        "attn_q.weight": matrix(sizes.width, sizes.width),
        "attn_q.bias": np.zeros(sizes.width, np.float32),
        "attn_k.weight": matrix(small, sizes.width),
        "attn_k.bias": np.zeros(small, np.float32),
        "attn_v.weight": matrix(small, sizes.width),
        "attn_v.bias": np.zeros(small, np.float32),
        "attn_output.weight": matrix(sizes.width, sizes.width),
        "ffn_norm.weight": np.ones(sizes.width, np.float32),
        "ffn_gate.weight": matrix(sizes.inner, sizes.width),
        "ffn_up.weight": matrix(sizes.inner, sizes.width),
        "ffn_down.weight": matrix(sizes.width, sizes.inner),
    }
    tensors = {
        "token_embd.weight": matrix(words, sizes.width),
        "output_norm.weight": np.ones(sizes.width, np.float32),
        "output.weight": matrix(words, sizes.width),
        **{f"blk.{n}.{name}": array for n in range(sizes.layers) for name, array in layer.items()},
    }
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=None if array.dtype == np.float32 else wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_tokenizer(writer: gguf.GGUFWriter, source: Path, words: int) -> int:
    """Copy tokens, merges and chat template, filled up to ``words``; how many there are."""
    fields = gguf.GGUFReader(source).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    more = range(len(tokens), words)
    writer.add_tokenizer_model(fields["tokenizer.ggml.model"].contents())
    writer.add_tokenizer_pre(fields["tokenizer.ggml.pre"].contents())
    writer.add_token_list([*tokens, *(f"<|unused {i}|>" for i in more)])
    writer.add_token_types([*kinds, *(int(gguf.TokenType.UNUSED) for _ in more)])
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    writer.add_chat_template(fields["tokenizer.chat_template"].contents())
    writer.add_eos_token_id(fields["tokenizer.ggml.eos_token_id"].contents())
    writer.add_add_bos_token(False)
    return max(len(tokens), words)


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
