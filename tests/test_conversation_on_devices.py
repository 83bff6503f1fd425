"""The main job on real PortAudio streams: two questions are heard, two answers are spoken."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from audio_fixtures import VirtualCard

from edge_omni.fetch import store

RATE = 16_000
SAMPLES = Path(__file__).parents[1] / "samples"


def loud_seconds(pcm: np.ndarray) -> float:
    """How much of a recording is louder than a whisper."""
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    return float((np.sqrt(np.mean(frames**2, axis=1)) > 0.01).sum() * 320 / RATE)


def talk(card: VirtualCard, *options: str) -> subprocess.Popen[str]:
    """`edge-omni run` with the card as its sound devices."""
    # The card has a home of its own; the LLM stays where it was fetched to.
    environment = {**card.environment, "COLUMNS": "500", "XDG_DATA_HOME": str(store().parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "edge_omni", "run", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def conversing(card: VirtualCard, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The same, and Ctrl-C at the end, which ends it cleanly."""
    process = talk(card, *options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def lines_until(process: subprocess.Popen[str], start: str) -> list[str]:
    """What the program prints up to the first line that begins with ``start``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip().startswith(start):
            return lines
    assert process.stderr is not None
    told = "".join([*lines, process.stderr.read()])
    raise AssertionError(f"the program ended before {start!r}: {told}")


def test_two_turns_through_microphone_and_speaker(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    with conversing(virtual_card) as process:
        lines_until(process, "Speak.")
        for name in ("question.wav", "follow-up.wav"):
            recording = virtual_card.record(tmp_path / name)
            virtual_card.play(SAMPLES / name)
            lines = lines_until(process, "first sound")
            caption = next(line for line in lines if line.startswith("You"))
            answer = next(line for line in lines if line.startswith("Assistant"))
            assert len(caption.split()) >= 4
            assert len(answer.split()) >= 2
            assert loud_seconds(recording.stop()) > 0.15 * len(answer.split())


def test_a_voice_over_the_answer_is_answered(virtual_card: VirtualCard) -> None:
    """Question, answer, barge-in, second answer."""
    with conversing(virtual_card, "--threads", "1") as process:
        lines_until(process, "Speak.")
        virtual_card.play(SAMPLES / "question.wav")
        time.sleep(1.2)  # the answer has begun
        virtual_card.play(SAMPLES / "follow-up.wav")
        first = lines_until(process, "first sound")
        assert any("(interrupted)" in line for line in first if line.startswith("Assistant"))
        second = lines_until(process, "first sound")
        assert any("water" in line for line in second if line.startswith("You"))
        assert any(len(line.split()) > 3 for line in second if line.startswith("Assistant"))


def test_a_card_that_vanishes_is_told_and_heard_again_when_it_is_back(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    with conversing(virtual_card) as process:
        lines_until(process, "Speak.")
        virtual_card.stop()
        assert "Connect it again" in lines_until(process, "default has gone")[-1]
        virtual_card.start_daemon(rate=44_100, channels=2)
        lines_until(process, "default hears you")
        recording = virtual_card.record(tmp_path / "answer")
        virtual_card.play(SAMPLES / "question.wav")
        lines = lines_until(process, "first sound")
        answer = next(line for line in lines if line.startswith("Assistant"))
        assert loud_seconds(recording.stop()) > 0.15 * len(answer.split())


def test_a_card_that_stays_away_ends_the_conversation(virtual_card: VirtualCard) -> None:
    process = talk(virtual_card, "--patience", "1")
    lines_until(process, "Speak.")
    virtual_card.stop()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "did not come back" in errors
    assert "Traceback" not in errors
