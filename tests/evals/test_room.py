"""The room of the duplex scenes: the microphone hears the speaker, the front end takes it out."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_omni.audio import files
from edge_omni.audio.echo import FrontEnd
from evals.echo import decibels
from evals.room import EchoingDevice

RATE, OUTPUT_RATE = 16_000, 22_050
SAMPLES = Path(__file__).parents[2] / "samples"


def heard(device: EchoingDevice, seconds: float) -> NDArray[np.float32]:
    return np.concatenate([device.read() for _ in range(round(seconds * 50))])


def speaking(front_end: FrontEnd | None, user: NDArray[np.float32]) -> EchoingDevice:
    device = EchoingDevice(user, OUTPUT_RATE, front_end)
    device.write(np.resize(files.read(SAMPLES / "question.wav", OUTPUT_RATE), 12 * OUTPUT_RATE))
    return device


def test_the_echo_is_as_loud_as_what_is_played_and_is_taken_out() -> None:
    nobody = np.zeros(0, np.float32)
    played = files.read(SAMPLES / "question.wav")
    echo = heard(speaking(None, nobody), 12)
    assert decibels(echo) == pytest.approx(decibels(played), abs=1.5)
    left = heard(speaking(FrontEnd(), nobody), 12)
    assert decibels(echo[6 * RATE :]) - decibels(left[6 * RATE :]) > 30


def test_a_lowered_voice_comes_back_lower() -> None:
    nobody = np.zeros(0, np.float32)
    device = speaking(None, nobody)
    device.volume = 0.1
    loud = heard(speaking(None, nobody), 6)
    assert decibels(heard(device, 6)) == pytest.approx(decibels(loud) - 20, abs=0.1)


def test_the_user_is_heard_after_the_voice_has_stopped() -> None:
    user = np.pad(files.read(SAMPLES / "follow-up.wav"), (8 * RATE, 0))
    device = speaking(FrontEnd(), user)
    before = heard(device, 8)
    device.clear()
    after = heard(device, 2)
    assert decibels(after) == pytest.approx(decibels(user[8 * RATE : 10 * RATE]), abs=3)
    assert decibels(before[6 * RATE :]) < decibels(after) - 25
