"""The judge: Whisper base, joined from its packages and checked."""

from pathlib import Path

import pytest

from evals import judge
from evals.text import word_error_rate

SAMPLES = Path(__file__).parents[2] / "samples"


def test_it_writes_down_the_sample_question() -> None:
    heard = judge.Judge().listen(SAMPLES / "question.wav")
    assert word_error_rate(["What do plants need to grow?"], [heard]) == 0


def test_a_damaged_copy_is_joined_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = judge.model_folder()
    (folder / "model.bin").write_bytes(b"damaged")
    (folder / "vocabulary.txt").unlink()
    assert judge.model_folder() == folder
    assert {path.name for path in folder.iterdir()} == set(judge.HASHES)
