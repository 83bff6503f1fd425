"""Training through the frozen LLM: torch computes what llama.cpp does, and gradients arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_omni.llm import LLM
from train.hearing.residual import Lesson, Residual, divergence
from train.llama import Llama


@pytest.fixture(scope="module")
def llama(llm_path: Path) -> Llama:
    return Llama(llm_path)


def test_torch_and_llama_cpp_agree_on_the_next_word(llama: Llama, llm: LLM) -> None:
    tokens = llm.tokenize("The sun rises in the")
    llm.append(tokens)
    rows = torch.nn.functional.pad(llama.embeddings[tokens], (0, 0, 3, 0))[None]
    shown = torch.arange(len(tokens) + 3)[None] >= 3
    logits = llama(rows, shown, 1)[0, 0].numpy()
    assert int(logits.argmax()) == int(llm.logits().argmax())
    assert np.corrcoef(logits, llm.logits())[0, 1] > 0.995


def test_what_is_heard_as_read_needs_no_residual_and_what_is_not_teaches_one(
    llama: Llama, llm: LLM
) -> None:
    torch.manual_seed(0)
    text, answer = llm.tokenize("What is a cat?"), llm.tokenize(" A small animal.")
    frame = (llm.tokenize("Question: "), llm.tokenize(" Answer:"))
    rows, hidden = llama.embeddings[text].float(), torch.randn(len(text), 16)
    residual = Residual(16, llama.width)
    same = divergence(llama, residual, [Lesson(text, answer, rows, hidden)], *frame)
    assert float(same.detach()) == pytest.approx(0, abs=1e-3)
    noisy = rows + 0.3 * rows.std() * torch.randn_like(rows)
    other = divergence(llama, residual, [Lesson(text, answer, noisy, hidden)], *frame)
    other.backward()
    assert float(other.detach()) > 1e-3
    assert residual.outer.weight.grad is not None
    assert float(residual.outer.weight.grad.abs().max()) > 0
