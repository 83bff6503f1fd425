"""The echo canceller's reference: what was played, in the microphone's time, for hours."""

import numpy as np
import pytest

from edge_omni.audio.reference import LEAD, RATE, Reference, Stamp
from evals.drift import simulate


@pytest.mark.parametrize("ppm", [-100, 100])
def test_an_hour_on_two_clocks_moves_nothing(ppm: float) -> None:
    hour = simulate(ppm)
    assert hour.off < 0.003
    assert hour.queued < 0.3
    assert hour.correction == pytest.approx(ppm, abs=2)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_any_rate_of_the_speaker_is_followed(rate: int) -> None:
    assert simulate(100, 180, rate=rate).off < 0.002


@pytest.mark.parametrize("lost", [0.2, 0.7])
def test_lost_sound_is_made_up_for(lost: float) -> None:
    assert simulate(50, 600, lost=lost).off < 0.003


def test_there_is_silence_before_the_speaker_plays_and_when_it_is_late() -> None:
    reference = Reference(RATE, room=1.0)
    assert not reference.take(320, Stamp(0, 1.0), None).any()
    reference.played.write(np.ones(1600, np.float32))
    # The last of it is heard at 1.1 s; what the microphone heard from 1.02 s on is read.
    heard = reference.take(3200, Stamp(0, 1.02), Stamp(1600, 1.1))
    loud = np.flatnonzero(heard > 0.5)
    assert loud[0] == pytest.approx(0, abs=20)
    # The resampler holds back up to 240 samples.
    assert (1.1 - 1.02 - LEAD) * RATE - 250 < loud[-1] < (1.1 - 1.02 - LEAD) * RATE
    assert len(heard) == 3200


def test_what_the_microphone_heard_before_anything_was_played_gets_silence() -> None:
    reference = Reference(RATE, room=1.0)
    reference.played.write(np.ones(1600, np.float32))
    # All of it is heard from 1.2 to 1.3 s.
    heard = reference.take(3200, Stamp(0, 1.0), Stamp(1600, 1.3))
    assert np.flatnonzero(heard > 0.5)[0] == pytest.approx((0.2 - LEAD) * RATE, abs=20)
