"""GGUF files: split ones are one, and what is no LLM is told by what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from convert import random_llm
from convert.vocabulary import sentencepiece
from edge_omni.errors import LLMError
from edge_omni.gguf_file import GGUFFile, shards
from edge_omni.llm import LLM


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    for count in (1, 3):
        random_llm.write(
            tmp_path / "small.gguf", random_llm.Sizes(), sentencepiece(), architecture="llama",
            parts=count,
        )  # fmt: skip
    return sorted(tmp_path.glob("small-*.gguf"))


def test_a_split_llm_is_loaded_by_the_name_of_any_part(parts: list[Path], tmp_path: Path) -> None:
    whole = LLM(tmp_path / "small.gguf", context=64, threads=1)
    tokens = whole.tokenize("What is the time?")
    expected, rows = whole.append(tokens), whole.embedding_rows(tokens)
    whole.close()
    assert [part.name for part in parts] == [f"small-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for part in parts:
        assert shards(part) == parts
        llm = LLM(part, context=64, threads=1)
        assert llm.path == parts[0]
        assert llm.rows_alike
        assert np.array_equal(llm.embedding_rows(tokens), rows)
        assert np.array_equal(llm.append(tokens), expected)
        llm.close()


def test_embeddings_are_found_in_whichever_part_holds_them(
    parts: list[Path], tmp_path: Path
) -> None:
    tensors = GGUFFile(parts[1]).tensors
    assert {tensor.path for tensor in tensors.values()} == set(parts)
    assert tensors.keys() == GGUFFile(tmp_path / "small.gguf").tensors.keys()


def test_a_missing_part_is_told_by_name(parts: list[Path]) -> None:
    parts[1].unlink()
    for named in (parts[0], parts[2]):
        with pytest.raises(LLMError, match=parts[1].name):
            LLM(named)
    parts[0].unlink()
    parts[2].unlink()
    with pytest.raises(LLMError, match="no LLM file"):
        LLM(parts[0])


def test_a_file_that_is_cut_off_in_its_tensors_is_told(parts: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((tmp_path / "small.gguf").read_bytes()[:40_000])
    with pytest.raises(LLMError, match="cut off"):
        LLM(cut)


@pytest.mark.parametrize(
    ("architecture", "metadata", "says"),
    [
        ("clip", {}, "mmproj"),
        ("llama", {"general.type": "adapter"}, "LoRA adapter"),
        ("llama", {"general.type": "mmproj"}, "mmproj"),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding model"),
        ("bert", {"bert.attention.causal": False}, "both directions"),
    ],
)
def test_what_is_no_llm_is_told_by_what_it_is(
    tmp_path: Path, architecture: str, metadata: dict[str, str | int | bool], says: str
) -> None:
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    writer.add_tensor("some.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(LLMError, match=says):
        LLM(path)


def test_a_name_like_a_part_of_one_is_a_file(parts: list[Path], tmp_path: Path) -> None:
    alone = Path(shutil.copy(tmp_path / "small.gguf", tmp_path / "alone-00001-of-00001.gguf"))
    llm = LLM(alone, context=64, threads=1)
    assert llm.path == alone
    llm.close()
