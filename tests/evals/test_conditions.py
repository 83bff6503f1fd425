"""Conditions do to sound what their names say, the same at every run."""

import numpy as np
import pytest
import soundfile

from edge_omni.errors import UsageError
from evals.conditions import RATE, condition, mixed

PCM = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


@pytest.mark.parametrize("decibels", [20, 10, 5, 0])
def test_noise_is_as_loud_as_was_asked_for(decibels: float, tmp_path) -> None:
    soundfile.write(tmp_path / "hum.wav", np.sin(np.arange(RATE) / 20), RATE)
    heard = condition(f"noise:{decibels}", tmp_path / "hum.wav")(PCM)
    noise = heard - PCM
    ratio = 10 * np.log10(np.mean(PCM**2) / np.mean(noise**2))
    assert ratio == pytest.approx(decibels, abs=0.1)


def test_silence_stays_silent_in_noise() -> None:
    assert not mixed(np.zeros(100, np.float32), PCM, 0).any()


def test_speed_changes_the_length() -> None:
    assert len(condition("speed:1.25")(PCM)) == pytest.approx(len(PCM) / 1.25, abs=2)
    assert len(condition("speed:0.8")(PCM)) == pytest.approx(len(PCM) / 0.8, abs=2)


def test_a_telephone_lets_only_its_band_through() -> None:
    spectrum = np.abs(np.fft.rfft(condition("telephone")(PCM)))
    hertz = np.fft.rfftfreq(len(PCM), 1 / RATE)
    assert spectrum[hertz > 3500].max() < 0.01 * spectrum.max()
    assert spectrum[hertz < 250].max() < 0.01 * spectrum.max()


def test_a_room_echoes_and_is_the_same_each_time() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 0.5
    heard = condition("room:0.5")(click)
    assert heard[0] == pytest.approx(0.5, abs=1e-4)
    early, late = np.mean(heard[80:1600] ** 2), np.mean(heard[6400:8000] ** 2)
    assert 0 < late < 0.001 * early
    np.testing.assert_array_equal(heard, condition("room:0.5")(click))


@pytest.mark.parametrize("text", ["rain", "noise", "noise:10", "speed:9", "room:x", "telephone:3"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        condition(text)


def test_none_leaves_the_sound_as_it_is() -> None:
    assert condition(None)(PCM) is PCM
