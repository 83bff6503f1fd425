"""Training through the frozen LLM: gradients arrive, and teach what was misheard."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_omni.llm import LLM
from train.hearing.residual import LIKELY, Lesson, Residual, Teacher, measure, split, train
from train.llama import Llama


@pytest.fixture(scope="module")
def teacher(llm_path: Path, shared_llm: LLM) -> Teacher:
    llama = Llama(llm_path)
    return Teacher(llama, shared_llm.tokenize("Question: "), shared_llm.tokenize(" Answer:"))


def lesson(teacher: Teacher, llm: LLM, text: str, answer: str, rows: Tensor | None) -> Lesson:
    """A question as it is heard: as it is read, where no other embeddings are given."""
    tokens, words = llm.tokenize(text), llm.tokenize(answer)
    read = teacher.llama.embeddings[tokens]
    with torch.no_grad():
        weights, likely = teacher.scores([read], [words])[0].exp().topk(LIKELY)
    heard = read.float() if rows is None else rows
    return Lesson(text, tokens, words, heard, torch.randn(len(heard), 16), likely, weights)


def test_what_is_heard_as_read_needs_no_residual(teacher: Teacher, llm: LLM) -> None:
    same = lesson(teacher, llm, "What is a cat?", " A small animal.", None)
    assert measure(teacher, Residual(16, teacher.llama.width), [same])[0] == pytest.approx(
        0, abs=2e-3
    )


def test_what_is_misheard_teaches_a_residual(teacher: Teacher, llm: LLM, tmp_path: Path) -> None:
    torch.manual_seed(0)
    wrong = teacher.llama.embeddings[llm.tokenize("What is a hat?")].float()
    other = lesson(teacher, llm, "What is a cat?", " A small animal.", wrong)
    before = measure(teacher, None, [other])
    assert before > 0.05
    residual = train(teacher, [other], [other], tmp_path / "run.pt", seconds=5, every=5)
    assert measure(teacher, residual, [other]) < 0.97 * before


def test_the_same_text_is_never_on_both_sides() -> None:
    nothing = torch.empty(0)
    lessons = [
        Lesson(text, [], [], nothing, nothing, nothing, nothing)
        for text in [f"Question {i % 200}?" for i in range(400)]
    ]
    parts = [{item.text for item in part} for part in split(lessons)]
    assert all(len(part) > 5 for part in parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
