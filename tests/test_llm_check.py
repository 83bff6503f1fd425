"""``edge-omni llm check``: what an LLM file is, and whether one can talk with it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from test_cli import edge_omni

from convert import random_llm
from convert.vocabulary import GEMMA, ZEPHYR, Vocabulary, sentencepiece
from edge_omni.llm_check import check


def small(path: Path, architecture: str = "llama", template: str | None = ZEPHYR) -> Path:
    random_llm.write(
        path, random_llm.Sizes(), sentencepiece(template), kind="F16", architecture=architecture
    )
    return path


def test_the_default_llm_can_be_heard_and_can_speak(llm_path: Path, tmp_path: Path) -> None:
    report = tmp_path / "llm.json"
    done = edge_omni("llm", "check", llm_path, "--json", report)
    assert done.returncode == 0, done.stderr
    assert "SmolLM2" in done.stdout or "Smollm2" in done.stdout
    figures = json.loads(report.read_text())
    assert figures["files"] == [str(llm_path)]
    assert figures["bytes"] == llm_path.stat().st_size
    assert figures["architecture"] == "llama"
    assert (figures["width"], figures["layers"], figures["context"]) == (576, 30, 8192)
    assert (figures["vocabulary"], figures["vocabulary_kind"]) == (49152, "BPE")
    assert (figures["row_scale"], figures["row_error"]) == (1.0, 0.0)
    assert figures["can_cut"]
    assert figures["can_shift"]
    assert figures["not_supported"] == []
    assert figures["can_be_heard"]
    assert figures["can_speak"]


def test_an_llm_that_scales_its_embeddings_is_as_good_as_any(tmp_path: Path) -> None:
    found = check(small(tmp_path / "gemma.gguf", "gemma3", GEMMA), threads=1)
    assert found.vocabulary_kind == "SPM"
    assert found.row_scale == pytest.approx(128**0.5)
    assert found.not_supported == []
    assert found.can_be_heard
    assert found.can_speak


def test_parameters_are_counted_in_all_parts(tmp_path: Path) -> None:
    whole = check(small(tmp_path / "small.gguf"), threads=1)
    random_llm.write(
        tmp_path / "small.gguf", random_llm.Sizes(), sentencepiece(), kind="F16",
        architecture="llama", parts=2,
    )  # fmt: skip
    split = check(tmp_path / "small-00002-of-00002.gguf", threads=1)
    assert [Path(name).name for name in split.files] == [
        "small-00001-of-00002.gguf",
        "small-00002-of-00002.gguf",
    ]
    assert dataclasses.replace(split, files=whole.files, bytes=whole.bytes) == whole


def test_an_llm_without_a_chat_template_cannot_speak(tmp_path: Path) -> None:
    report = tmp_path / "llm.json"
    path = small(tmp_path / "[red]base[-1].gguf", template=None)
    done = edge_omni("llm", "check", path, "--json", report)
    assert done.returncode == 6
    assert path.name in done.stdout
    assert "no chat template" in done.stdout
    assert path.name in done.stderr
    figures = json.loads(report.read_text())
    assert figures["can_be_heard"]
    assert not figures["can_speak"]


def test_a_template_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    found = check(small(tmp_path / "odd.gguf", template="{% nonsense %}"), threads=1)
    assert found.chat_template
    assert found.template_problem is not None
    assert "nonsense" in found.template_problem
    assert not found.can_speak


def test_a_memory_that_is_one_running_state_cannot_be_cut(tmp_path: Path) -> None:
    path = small(tmp_path / "mamba.gguf", "mamba")
    found = check(path, threads=1)
    assert found.can_cut is False
    assert not found.can_be_heard
    assert "running state" in found.not_supported[0]
    assert edge_omni("llm", "check", path).returncode == 6


def test_a_memory_that_cannot_be_shifted_is_told(tmp_path: Path, llm_path: Path) -> None:
    path = tmp_path / "small.gguf"
    random_llm.write(
        path, random_llm.Sizes(), Vocabulary.of(llm_path), architecture="qwen2vl", kind="F16"
    )
    found = check(path, threads=1)
    assert (found.can_cut, found.can_shift) == (True, False)
    assert "longer than its memory" in found.not_supported[0]
    assert found.can_be_heard
    assert found.can_speak


def test_what_is_no_llm_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_tensor("v.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = edge_omni("llm", "check", path)
    assert done.returncode == 6
    assert "mmproj" in done.stdout
    assert "clip" in done.stdout


def test_files_that_cannot_be_are_told_before_the_work(tmp_path: Path, llm_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("this is no model, but long enough to hold a header of one\n")
    done = edge_omni("llm", "check", text)
    assert done.returncode == 6
    assert "not a GGUF file" in done.stderr
    assert "Traceback" not in done.stderr
    assert edge_omni("llm", "check", tmp_path / "none.gguf").returncode == 6
    done = edge_omni("llm", "check", llm_path, "--json", tmp_path / "no" / "such.json")
    assert done.returncode == 2
    assert "no folder" in done.stderr
    assert done.stdout == ""
