"""The frozen LLM in torch computes what llama.cpp does, for each architecture that it knows."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from edge_omni.errors import LLMError
from edge_omni.llm import LLM
from train.llama import Llama

WIDTH, HEADS, GROUPS, LAYERS, INNER = 64, 4, 2, 2, 96
WORDS = 300


def write_llm(path: Path, architecture: str, *, tied: bool) -> None:
    """A small LLM with random weights."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"w{i}" for i in range(WORDS)])
    writer.add_token_types([gguf.TokenType.NORMAL] * WORDS)
    writer.add_token_merges(["w 0"])
    dice = np.random.default_rng(0)

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        array = scale * dice.standard_normal(shape) + ("norm" in name)
        writer.add_tensor(name, array.astype(np.float32))

    add("token_embd.weight", WORDS, WIDTH)
    add("output_norm.weight", WIDTH)
    if not tied:
        add("output.weight", WORDS, WIDTH)
    side = WIDTH // HEADS * GROUPS
    for i in range(LAYERS):
        for name, outputs in (("q", WIDTH), ("k", side), ("v", side)):
            add(f"blk.{i}.attn_{name}.weight", outputs, WIDTH)
            if architecture == "qwen2":
                add(f"blk.{i}.attn_{name}.bias", outputs, scale=1.0)
        add(f"blk.{i}.attn_output.weight", WIDTH, WIDTH)
        add(f"blk.{i}.attn_norm.weight", WIDTH)
        add(f"blk.{i}.ffn_norm.weight", WIDTH)
        add(f"blk.{i}.ffn_gate.weight", INNER, WIDTH)
        add(f"blk.{i}.ffn_up.weight", INNER, WIDTH)
        add(f"blk.{i}.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_torch_and_llama_cpp_agree(tmp_path: Path, architecture: str, tied: bool) -> None:
    path = tmp_path / "small.gguf"
    write_llm(path, architecture, tied=tied)
    tokens = np.random.default_rng(1).integers(WORDS, size=40).tolist()
    llm = LLM(path, context=256, threads=1)
    llm.append(tokens)
    wanted = llm.logits()
    llm.close()
    llama = Llama(path, torch.float32, torch.device("cpu"))
    # Left padding and tokens that are remembered change nothing.
    rows = torch.nn.functional.pad(llama.embeddings[tokens[7:]], (0, 0, 3, 0))[None]
    shown = torch.arange(len(tokens) - 4)[None] >= 3
    logits = llama(rows, shown, 1, llama.past(tokens[:7]))[0, 0].detach().numpy()
    assert np.corrcoef(logits, wanted)[0, 1] > 0.999


def test_torch_and_llama_cpp_agree_on_the_next_word(llm_path: Path, llm: LLM) -> None:
    llama = Llama(llm_path)
    tokens = llm.tokenize("The sun rises in the")
    llm.append(tokens)
    rows, shown = llama.embeddings[tokens][None], torch.ones(1, len(tokens), dtype=torch.bool)
    logits = llama(rows, shown, 1)[0, 0].cpu().numpy()
    assert int(logits.argmax()) == int(llm.logits().argmax())
    assert np.corrcoef(logits, llm.logits())[0, 1] > 0.995


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "gemma.gguf"
    write_llm(path, "gemma3", tied=True)
    with pytest.raises(LLMError, match=r"gemma3.*llama and qwen2"):
        Llama(path)
