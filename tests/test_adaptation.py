"""An adaptation is found by the LLM it was trained for, and what does not fit is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convert.hearing import export_residual
from edge_omni.adaptation import BESIDE, MANIFEST, find, store
from edge_omni.assistant import Assistant
from edge_omni.bundle import Bundle
from edge_omni.fetch import sha256
from train.hearing.residual import Residual

SAMPLE = Path(__file__).parent.parent / "samples" / "question.wav"


@pytest.fixture(scope="session")
def bundle(bare_bundle: Path) -> Bundle:
    """The default bundle without the adaptations that it brings."""
    return Bundle(bare_bundle)


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A residual for the bundle's own LLM, in the user's data folder."""
    llm = bundle.find_llm()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = store(bundle, bundle.manifest.llm.sha256)
    folder.mkdir(parents=True)
    residual = Residual(bundle.manifest.encoder["width"], bundle.manifest.llm.width)
    torch.nn.init.normal_(residual.outer.weight)
    path = folder / "residual.onnx"
    export_residual(residual, path)
    graph = bundle.manifest.graphs[BESIDE["residual"]]
    part = {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "beside": bundle.manifest.files[graph].sha256,
    }
    reference = bundle.manifest.llm
    described = {
        "format": 1,
        "bundle": bundle.manifest.name,
        "llm": {
            "name": llm.name,
            "sha256": reference.sha256,
            "bytes": reference.bytes,
            "width": reference.width,
        },
        "parts": {"residual": part},
    }
    (folder / MANIFEST).write_text(json.dumps(described))
    return folder


def test_the_default_bundle_brings_a_residual_for_its_llm(llm_path: Path) -> None:
    whole = Bundle("tiny")
    found = find(whole, llm_path)
    assert found.residual is not None
    assert found.residual.is_relative_to(whole.folder)
    assert not found.left_out


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads((folder / MANIFEST).read_text())
    edit(described)
    (folder / MANIFEST).write_text(json.dumps(described))


def test_what_was_trained_for_the_llm_is_found_by_itself(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    found = find(bundle, llm_path)
    assert found.residual == folder / "residual.onnx"
    assert found.prefix is None
    assert not found.left_out
    assert str(found) == "adapted (residual)"


def test_a_bundle_may_bring_a_prefix_for_its_own_llm(
    bundle: Bundle, llm_path: Path, tmp_path: Path
) -> None:
    described = bundle.manifest.model_dump(mode="json")
    described["graphs"]["decoder_prefix"] = "decoder_prefix.onnx"
    (tmp_path / "manifest.json").write_text(json.dumps(described))
    assert find(Bundle(tmp_path), llm_path).prefix == tmp_path / "decoder_prefix.onnx"


def test_it_is_used_unless_it_is_not_wanted(llm_path: Path, folder: Path) -> None:
    texts = []
    for adapted in (True, False):
        assistant = Assistant(llm=llm_path, adapted=adapted, threads=1)
        assert (assistant.adaptation.residual is not None) == adapted
        texts.append(assistant.ask(SAMPLE, max_tokens=12).text)
        assistant.close()
    # A random residual is heard as something else.
    assert texts[0] != texts[1]


def test_another_llm_has_none(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(bytes(1000))
    same_size = tmp_path / "same-size.gguf"
    with same_size.open("wb") as file:
        file.truncate(bundle.manifest.llm.bytes)
    for path in (other, same_size):
        found = find(bundle, path)
        assert str(found) == "not adapted"
        assert not found.left_out


def test_a_cut_off_part_is_left_out_and_told(bundle: Bundle, llm_path: Path, folder: Path) -> None:
    path = folder / "residual.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    found = find(bundle, llm_path)
    assert found.residual is None
    assert "cut off" in found.left_out[0]
    assert "edge-omni adapt" in found.left_out[0]
    path.unlink()
    assert "missing" in find(bundle, llm_path).left_out[0]


def test_a_part_trained_beside_an_older_bundle_is_left_out_and_told(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    change(folder, lambda m: m["parts"]["residual"].update(beside="0" * 64))
    found = find(bundle, llm_path)
    assert found.residual is None
    assert "another adapter_step" in found.left_out[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format=2),
        lambda m: m.update(surprise=1),
        lambda m: m["parts"].update(ears=m["parts"]["residual"]),
        lambda m: m["parts"]["residual"].update(file="../../elsewhere"),
        lambda m: m["llm"].pop("sha256"),
    ],
)
def test_a_damaged_manifest_is_left_out_and_told(
    bundle: Bundle, llm_path: Path, folder: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    change(folder, edit)
    found = find(bundle, llm_path)
    assert found.residual is None
    assert "cannot be read" in found.left_out[0]


def test_an_adaptation_beside_another_bundle_is_not_ours(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    change(folder, lambda m: m.update(bundle="another"))
    assert find(bundle, llm_path).residual is None
    assert not find(bundle, llm_path).left_out
