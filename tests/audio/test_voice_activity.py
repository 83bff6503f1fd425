"""The first gate: open for speech, shut for silence."""

from pathlib import Path

import numpy as np
import pytest

from edge_omni.audio import files
from edge_omni.audio.voice_activity import FRAME, RATE, VoiceActivity

SAMPLE = Path(__file__).parents[2] / "samples" / "question.wav"


def test_speech_opens_the_gate() -> None:
    pcm = files.read(SAMPLE)
    speech = np.flatnonzero(np.abs(pcm) > 0.05)
    frames = VoiceActivity().push(pcm)
    inside = frames[speech[0] // FRAME : speech[-1] // FRAME]
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
def test_silence_of_any_kind_does_not(aggressiveness: int) -> None:
    hiss = np.random.default_rng(0).normal(0, 1e-4, 3 * RATE).astype(np.float32)
    for silence in (np.zeros(3 * RATE, np.float32), hiss):
        assert not any(VoiceActivity(aggressiveness).push(silence))


def test_silence_after_speech_shuts_it() -> None:
    frames = VoiceActivity().push(
        np.concatenate([files.read(SAMPLE), np.zeros(2 * RATE, np.float32)])
    )
    assert not any(frames[-75:])


def test_one_answer_for_every_20_ms_however_the_stream_is_cut() -> None:
    pcm = files.read(SAMPLE)
    whole = VoiceActivity().push(pcm)
    assert len(whole) == len(pcm) // FRAME
    cut = VoiceActivity()
    rng = np.random.default_rng(0)
    pieces: list[bool] = []
    while len(pcm):
        size = int(rng.integers(0, 1000))
        pieces += cut.push(pcm[:size])
        pcm = pcm[size:]
    assert pieces == whole


def test_louder_than_full_scale_is_no_trouble() -> None:
    assert len(VoiceActivity().push(np.full(FRAME, 1e9, np.float32))) == 1
