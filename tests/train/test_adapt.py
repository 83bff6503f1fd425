"""`edge-omni adapt` from end to end, on the real bundle and LLM and very little data."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_omni.adaptation import MANIFEST, AdaptationManifest, find
from edge_omni.bundle import Bundle
from edge_omni.errors import LLMError, UsageError
from train import adapt
from train.speech import aligned, prefix
from train.speech.alphabet import encode

WORDS = "cat dog house tree water light paper stone river cloud".split()


def said(count: int) -> list[str]:
    """Texts of which each side of a split has some."""
    dice, texts = np.random.default_rng(0), []
    while len(texts) < count:
        text = "What is a " + " and a ".join(dice.choice(WORDS, 3)) + "?"
        texts += [text] if text not in texts else []
    return texts


def spoken(folder: Path, texts: list[str]) -> None:
    """A shard of :mod:`train.speech.aligned` with codes that follow from the characters."""
    folder.mkdir(parents=True)
    sentences = []
    for text in texts:
        characters = encode(f"^{text}$")
        durations = np.full(2 * len(characters), 2)
        sentences.append(
            aligned.Aligned(
                text, characters, np.ones_like(durations), durations, np.repeat(characters, 2)
            )
        )
    aligned.save(folder / "made-0000.npz", sentences)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    spoken(folder / "speech" / "aligned", said(40))
    return folder


def test_an_adaptation_is_trained_measured_and_found(
    bundle: Bundle,
    llm_path: Path,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for minutes in (0.75, 1.5, 3.0):  # a slow machine needs more, and goes on where it was
        with contextlib.suppress(UsageError):
            manifest = adapt.run(llm_path, work=work, minutes=minutes)
            if "prefix" in manifest.parts:
                break
    folder = next(tmp_path.glob("edge-omni/adaptations/*"))
    assert AdaptationManifest.model_validate_json((folder / MANIFEST).read_bytes()) == manifest
    assert manifest.llm.sha256 == bundle.manifest.llm.sha256
    figures = manifest.figures
    assert figures["cpu_minutes"] < minutes + 0.75
    assert figures["prefix_code_loss_after"] < figures["prefix_code_loss_before"]
    assert (folder / "prefix.onnx").stat().st_size == manifest.parts["prefix"].bytes
    found = find(bundle, llm_path)
    assert found.prefix == folder / "prefix.onnx"
    assert not found.left_out
    told = capsys.readouterr().out
    assert "prefix: code loss" in told
    assert "It helps" in told

    # A run that is over costs little the second time: what was made is there.
    again = adapt.run(llm_path, work=work, minutes=minutes)
    assert again.figures["prefix_code_loss_before"] == figures["prefix_code_loss_before"]
    assert again.figures["cpu_minutes"] < figures["cpu_minutes"] + 0.5


def test_a_prefix_that_does_not_help_is_not_installed_and_that_is_told(
    bundle: Bundle, llm_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, budget = tmp_path / "out", adapt.Budget(tmp_path / "seconds.json", 1)
    run = adapt.Run(llm_path, bundle, tmp_path, tmp_path, budget, threads=1)
    losses = torch.tensor([3.0, 2.0, 4.0])
    decoder = prefix.build(bundle, bundle.manifest.llm.width)
    helping = adapt.Trained(decoder, bundle.manifest.llm.width, 30, losses, losses - 1)
    assert "prefix" in adapt.write(run, bundle.manifest.llm.sha256, helping, out).parts
    manifest = adapt.write(
        run, bundle.manifest.llm.sha256, dataclasses.replace(helping, after=losses + 1), out
    )
    adapt.show(manifest, out)
    assert manifest.parts == {}
    assert [path.name for path in out.iterdir()] == [MANIFEST]
    assert "does not help" in capsys.readouterr().out


def test_every_side_of_the_split_has_some() -> None:
    texts = said(40)
    sentences = [aligned.Aligned(text, *[np.zeros(1)] * 4) for text in texts]
    assert all(len(part) > 1 for part in prefix.split(sentences))


def test_an_llm_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="no LLM file"):
        adapt.run(tmp_path / "none.gguf", work=tmp_path)
