"""Rows of an LLM's embedding table are read as its tokens are, whatever LLM it is."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from convert import random_llm
from convert.vocabulary import GEMMA, ZEPHYR, Vocabulary, sentencepiece
from edge_omni.assistant import Assistant
from edge_omni.bundle import MANIFEST, Bundle
from edge_omni.errors import LLMError
from edge_omni.llm import LLM
from edge_omni.row_scale import LEAST, difference, row_scale

TEXT = "What is the colour of the river? Tell me, please."
MARKERS = ("<start_of_turn>", "<end_of_turn>")


def vocabulary(architecture: str) -> Vocabulary:
    if architecture == "gemma3":
        return sentencepiece(GEMMA, MARKERS, space_prefix=False)
    return sentencepiece(ZEPHYR)


def quantized(source: Path, target: Path, kind: str) -> Path:
    """A copy whose embeddings are quantised by llama.cpp itself."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    options.token_embedding_type = int(gguf.GGMLQuantizationType[kind])
    options.nthread = 1
    done = llama_cpp.llama_model_quantize(bytes(source), bytes(target), ctypes.byref(options))
    assert done == 0
    return target


def left_of_a_difference(llm: LLM) -> float:
    tokens = llm.tokenize(TEXT)
    by_token = llm.append(tokens)
    llm.rewind(0)
    return difference(llm.append(llm.embedding_rows(tokens)), by_token)


def test_rows_of_the_default_llm_are_its_tokens_to_the_bit(llm: LLM) -> None:
    assert llm.row_scale == 1.0
    assert llm.row_error == 0.0
    assert llm.rows_alike
    assert left_of_a_difference(llm) == 0.0


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize(
    ("architecture", "scale"),
    [("llama", 1.0), ("qwen2", 1.0), ("qwen2vl", 1.0), ("gemma3", 160**0.5)],
)
def test_rows_are_read_as_tokens(
    tmp_path: Path, architecture: str, scale: float, kind: str, tied: bool
) -> None:
    path = tmp_path / "small.gguf"
    random_llm.write(
        path, random_llm.Sizes(width=160, inner=192), vocabulary(architecture), kind=kind,
        architecture=architecture, tied=tied,
    )  # fmt: skip
    llm = LLM(path, context=64, threads=1)
    assert llm.row_scale == pytest.approx(scale)
    assert llm.row_error <= LEAST
    assert llm.rows_alike
    assert left_of_a_difference(llm) <= LEAST
    llm.close()


@pytest.mark.parametrize("kind", ["Q2_K", "Q4_K", "Q6_K", "IQ4_NL", "BF16", "MXFP4"])
def test_rows_of_every_quantisation_are_read_as_llama_cpp_reads_them(
    tmp_path: Path, kind: str
) -> None:
    whole = tmp_path / "whole.gguf"
    sizes = random_llm.Sizes(width=256)
    random_llm.write(whole, sizes, sentencepiece(), kind="F32", architecture="llama")
    llm = LLM(quantized(whole, tmp_path / f"{kind}.gguf", kind), context=64, threads=1)
    assert llm.rows_alike
    assert left_of_a_difference(llm) <= LEAST
    llm.close()


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LLM whose embeddings llama.cpp can read and the package gguf cannot."""
    folder = tmp_path_factory.mktemp("unreadable")
    whole = folder / "whole.gguf"
    sizes = random_llm.Sizes(width=256)
    random_llm.write(whole, sizes, sentencepiece(), kind="F32", architecture="llama")
    return quantized(whole, folder / "Q1_0.gguf", "Q1_0")


def test_an_llm_whose_rows_cannot_be_read_still_reads_tokens(unreadable: Path) -> None:
    llm = LLM(unreadable, context=64, threads=1)
    assert not llm.rows_alike
    assert len(llm.append(llm.tokenize(TEXT))) == llm.width
    with pytest.raises(LLMError, match="Q1_0"):
        llm.embedding_rows([1, 2])
    llm.close()


def test_a_frame_adapter_refuses_an_llm_whose_rows_cannot_be_read(
    bundle: Bundle, unreadable: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "frames"))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["adapter"] = {"kind": "frame"}
    manifest["llm"]["width"] = 256
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(LLMError, match=r"frame-synchronous adapter.*Q1_0"):
        Assistant(folder, llm=unreadable, threads=1)


def test_an_llm_that_reads_rows_in_a_way_of_its_own_is_known() -> None:
    tried = []

    def error(scale: float) -> float:
        tried.append(scale)
        return abs(np.log(scale / 3.0))

    scale, left = row_scale(error, 100)
    assert left > LEAST
    assert tried == [1.0, 10.0]
    assert scale == 1.0
