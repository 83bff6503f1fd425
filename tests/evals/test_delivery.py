"""Clipping, silence and words left out or said twice are found where they were put."""

import numpy as np
import pytest

from evals.delivery import Words, sound, words

RATE = 16_000


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * RATE)) / 5)).astype(np.float32)


def test_silence_counts_inside_an_answer_only() -> None:
    quiet = np.zeros(RATE // 2, np.float32)
    found = sound(
        np.concatenate([quiet, tone(1), quiet, tone(2), quiet[: RATE // 5], tone(1)]), RATE
    )
    assert found["spoken"] == pytest.approx(4.7, abs=0.05)
    assert found["silent"] == pytest.approx(0.7, abs=0.05)
    assert found["longest_silence"] == pytest.approx(0.5, abs=0.03)
    assert found["clipped"] == 0


def test_samples_at_full_scale_are_clipped() -> None:
    pcm = tone(1)
    pcm[100:110] = 1
    assert sound(pcm, RATE)["clipped"] == 10


def test_silence_alone_is_no_speech() -> None:
    found = sound(np.zeros(RATE, np.float32), RATE)
    assert found["spoken"] == found["longest_silence"] == 0


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        ("the red house stands", Words(4, 0, 0, 0, 0)),
        ("the house stands", Words(4, 1, 0, 0, 0)),
        ("the red red house stands", Words(4, 0, 0, 1, 0)),
        ("the red the red house stands", Words(4, 0, 0, 2, 0)),
        ("the red brick house stands", Words(4, 0, 0, 0, 1)),
        ("the read house stands", Words(4, 0, 1, 0, 0)),
        ("", Words(4, 4, 0, 0, 0)),
    ],
)
def test_words_are_skipped_misheard_repeated_or_added(heard: str, found: Words) -> None:
    assert words("The red house stands.", heard) == found
