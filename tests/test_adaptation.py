"""An adaptation is found by the LLM it was trained for, and what does not fit is left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convert.decoder import write_prefix
from edge_omni.adaptation import BESIDE, MANIFEST, find, store
from edge_omni.assistant import Assistant
from edge_omni.bundle import Bundle
from edge_omni.fetch import sha256
from train.speech import prefix


@pytest.fixture(scope="module")
def graph(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with random weights, as it is exported for the bundle's own LLM."""
    path = tmp_path_factory.mktemp("prefix") / "prefix.onnx"
    decoder = prefix.build(bundle, bundle.manifest.llm.width)
    for values in decoder.prefix.parameters():
        torch.nn.init.normal_(values)
    write_prefix(decoder.cpu(), path)
    return path


@pytest.fixture
def folder(bundle: Bundle, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adaptation to the bundle's own LLM, in the user's data folder."""
    llm = bundle.find_llm()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = store(bundle, bundle.manifest.llm.sha256)
    folder.mkdir(parents=True)
    path = Path(shutil.copy(graph, folder))
    part = {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "beside": bundle.manifest.files[bundle.manifest.graphs[BESIDE]].sha256,
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
        "parts": {"prefix": part},
    }
    (folder / MANIFEST).write_text(json.dumps(described))
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads((folder / MANIFEST).read_text())
    edit(described)
    (folder / MANIFEST).write_text(json.dumps(described))


def test_what_was_trained_for_the_llm_is_found_by_itself(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    found = find(bundle, llm_path)
    assert found.prefix == folder / "prefix.onnx"
    assert not found.left_out
    assert str(found) == "adapted (prefix)"


def test_a_bundle_may_bring_a_prefix_for_its_own_llm(
    bundle: Bundle, llm_path: Path, tmp_path: Path
) -> None:
    described = bundle.manifest.model_dump(mode="json")
    described["graphs"]["decoder_prefix"] = "decoder_prefix.onnx"
    (tmp_path / "manifest.json").write_text(json.dumps(described))
    assert find(Bundle(tmp_path), llm_path).prefix == tmp_path / "decoder_prefix.onnx"


def test_it_is_used_unless_it_is_not_wanted(llm_path: Path, folder: Path) -> None:
    spoken = []
    for adapted in (True, False):
        assistant = Assistant(llm=llm_path, adapted=adapted, threads=1)
        assert (assistant.adaptation.prefix is not None) == adapted
        spoken.append(assistant.say("Yes, of course.").audio)
        assistant.close()
    # A random prefix is spoken otherwise.
    assert not np.array_equal(spoken[0], spoken[1])


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
    path = folder / "prefix.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    found = find(bundle, llm_path)
    assert found.prefix is None
    assert "cut off" in found.left_out[0]
    assert "edge-omni adapt" in found.left_out[0]
    path.unlink()
    assert "missing" in find(bundle, llm_path).left_out[0]


def test_a_part_trained_beside_an_older_bundle_is_left_out_and_told(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    change(folder, lambda m: m["parts"]["prefix"].update(beside="0" * 64))
    found = find(bundle, llm_path)
    assert found.prefix is None
    assert "another decoder_step" in found.left_out[0]


def test_the_residual_of_an_older_adaptation_is_left_out_and_told(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    change(folder, lambda m: m["parts"].update(residual=m["parts"]["prefix"]))
    found = find(bundle, llm_path)
    assert found.prefix == folder / "prefix.onnx"
    assert len(found.left_out) == 1
    assert "residual" in found.left_out[0]
    assert "no longer used" in found.left_out[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format=2),
        lambda m: m.update(surprise=1),
        lambda m: m["parts"].update(ears=m["parts"]["prefix"]),
        lambda m: m["parts"]["prefix"].update(file="../../elsewhere"),
        lambda m: m["llm"].pop("sha256"),
    ],
)
def test_a_damaged_manifest_is_left_out_and_told(
    bundle: Bundle, llm_path: Path, folder: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    change(folder, edit)
    found = find(bundle, llm_path)
    assert found.prefix is None
    assert "cannot be read" in found.left_out[0]


def test_an_adaptation_beside_another_bundle_is_not_ours(
    bundle: Bundle, llm_path: Path, folder: Path
) -> None:
    change(folder, lambda m: m.update(bundle="another"))
    assert find(bundle, llm_path).prefix is None
    assert not find(bundle, llm_path).left_out
