"""`edge-omni adapt` from end to end, on the real bundle and LLM and very little data."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge_omni.adaptation import MANIFEST, AdaptationManifest, find
from edge_omni.bundle import Bundle
from edge_omni.errors import LLMError, UsageError
from train import adapt
from train.hearing import residual, whisper
from train.hearing.data import Utterance
from train.hearing.vocabulary import byte_alphabet, spelling
from train.speech import aligned, prefix
from train.speech.alphabet import encode

QUESTION = Path(__file__).parents[2] / "samples" / "question.wav"
WORDS = "cat dog house tree water light paper stone river cloud".split()


def said(count: int) -> list[str]:
    """Texts of which each side of a split has some, for both networks."""
    dice, texts = np.random.default_rng(0), []
    while len(texts) < count:
        text = "What is a " + " and a ".join(dice.choice(WORDS, 3)) + "?"
        texts += [text] if text not in texts else []
    return texts


def heard(folder: Path, texts: list[str], pcm: NDArray[np.float32]) -> None:
    """A folder of :mod:`train.hearing.data`: every text is heard in the same short recording."""
    vocabulary, alphabet = whisper.load().vocabulary, byte_alphabet()
    ids = {spelling(token, alphabet): i for i, token in enumerate(vocabulary[:50257]) if token}
    folder.mkdir(parents=True)
    items = []
    for i, text in enumerate(texts):
        words = [b" " + word.encode() for word in text.rstrip("?").split()]
        tokens = [ids[word] for word in words] + [ids[b"?"]]
        items.append(
            Utterance(str(i), i * len(pcm), len(pcm), 0, len(pcm) // 320, tokens, [], -0.1, 0.0)
        )
    samples = (np.tile(pcm, len(texts)) * 32767).astype(np.int16)
    (folder / "pcm.i16").write_bytes(samples.tobytes())
    (folder / "index.jsonl").write_text("\n".join(json.dumps(asdict(item)) for item in items))


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
    pcm, _ = soundfile.read(QUESTION, dtype="float32")
    texts = said(40)
    heard(folder / "hearing" / "made", texts[:24], pcm[: 16_000 + len(pcm) % 2])
    spoken(folder / "speech" / "aligned", texts)
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
    # Only what helps is written, and what is written is found.
    assert figures["prefix_code_loss_after"] < figures["prefix_code_loss_before"]
    for role, part in manifest.parts.items():
        assert (folder / part.file).stat().st_size == part.bytes
        assert getattr(find(bundle, llm_path), role) == folder / part.file
    assert "prefix" in manifest.parts
    assert "prefix: code loss" in capsys.readouterr().out

    # A run that is over costs little the second time: what was made is there.
    again = adapt.run(llm_path, work=work, minutes=minutes)
    assert again.figures["residual_divergence_before"] == figures["residual_divergence_before"]
    assert again.figures["cpu_minutes"] < figures["cpu_minutes"] + 0.5


def test_every_side_of_the_split_has_some() -> None:
    texts = said(40)
    sentences = [aligned.Aligned(text, *[np.zeros(1)] * 4) for text in texts]
    assert all(len(part) > 1 for part in prefix.split(sentences))
    lessons = [residual.Lesson(text, [], [], *[None] * 4) for text in texts[:24]]
    assert all(len(part) > 1 for part in residual.split(lessons))


def test_an_llm_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="no LLM file"):
        adapt.run(tmp_path / "none.gguf", work=tmp_path)
