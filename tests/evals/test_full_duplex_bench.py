"""The benchmark's folders are read, and its measures tell what happened."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_omni.audio import files
from edge_omni.errors import UsageError
from evals.full_duplex_bench import Clip, clips, judge, run

SAMPLES = Path(__file__).parents[2] / "samples"


def speaking(seconds: float, *spans: tuple[float, float]) -> list[bool]:
    ticks = np.arange(round(seconds * 50)) / 50
    return np.any([(ticks >= start) & (ticks < end) for start, end in spans], axis=0).tolist()


def clip(folder: Path, name: str, start: float, end: float, pcm: np.ndarray) -> None:
    folder.mkdir(parents=True)
    soundfile.write(folder / "input.wav", pcm, 16_000)
    (folder / name).write_text(json.dumps([{"text": "x", "timestamp": [start, end]}]))


def test_any_answer_takes_over_in_a_pause_but_a_murmur() -> None:
    pause = Clip("pause", Path(), math.nan)
    assert judge(pause, speaking(8, (3, 5))).took
    assert not judge(pause, speaking(8, (3, 3.5))).took
    assert not judge(pause, [False] * 400).took


def test_latency_is_counted_from_the_end_of_the_turn() -> None:
    outcome = judge(Clip("turn", Path(), 2.0), speaking(8, (2.5, 5)))
    assert outcome.took
    assert outcome.latency == pytest.approx(0.5)
    assert judge(Clip("turn", Path(), 2.0), speaking(8, (1.5, 5))).latency == 0


def test_what_was_never_interrupted_is_no_answer() -> None:
    interruption = Clip("interruption", Path(), 4.0)
    assert not judge(interruption, speaking(8, (1, 7))).took
    outcome = judge(interruption, speaking(8, (1, 3), (4.6, 7)))
    assert outcome.took
    assert outcome.latency == pytest.approx(0.6)


def test_the_benchmarks_folders_are_played_and_the_answer_is_kept(tmp_path: Path) -> None:
    said = files.read(SAMPLES / "question.wav")
    length = len(said) / 16_000
    pcm = np.concatenate([said, np.zeros(5 * 16_000, np.float32)])
    clip(tmp_path / "data" / "turns" / "1", "turn_taking.json", length, length + 0.4, pcm)
    figures = run(tmp_path / "data", out=tmp_path / "out")
    assert figures["tasks"]["turn"]["takeover"]["value"] == 1
    assert 0 < figures["tasks"]["turn"]["latency"] < 3
    assert figures["tasks"]["pause"]["clips"] == 0
    kept = soundfile.info(tmp_path / "out" / "turns" / "1" / "output.wav")
    assert kept.duration == pytest.approx(len(pcm) / 16_000, abs=0.05)


def test_what_is_no_clip_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No clips"):
        clips(tmp_path)
    clip(tmp_path / "1", "pause.json", 1, 2, np.zeros(16_000, np.float32))
    (tmp_path / "1" / "pause.json").write_text("[{}]")
    with pytest.raises(UsageError, match="does not tell when"):
        clips(tmp_path)
