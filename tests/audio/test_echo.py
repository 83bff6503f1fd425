"""The front end: the echo goes, the user stays, and pieces of any length give the same."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_omni.audio import files
from edge_omni.audio.echo import FRAME, LATENCY, RATE, FrontEnd
from edge_omni.errors import DeviceError
from evals.echo import decibels, echo_of

SAMPLES = Path(__file__).parents[2] / "samples"


def speech(seconds: float) -> NDArray[np.float32]:
    return np.resize(files.read(SAMPLES / "question.wav"), round(seconds * RATE))


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def spectra(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitudes above 200 Hz: the high-pass filter turns phases."""
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    return np.abs(np.fft.rfft(frames))[:, 4:].astype(np.float32)


@pytest.mark.parametrize("delay", [0.02, 0.15, 0.3])
def test_the_echo_goes(delay: float) -> None:
    far = speech(12)
    heard = echo_of(far, delay=delay, room=0.3)
    left = FrontEnd().process(heard, far)
    assert decibels(heard) - decibels(left[5 * RATE :]) > 30
    untouched = FrontEnd(echo=False).process(heard, far)
    assert decibels(untouched) == pytest.approx(decibels(heard), abs=0.1)


def test_the_user_stays_when_nothing_is_played() -> None:
    near = speech(6)
    heard = FrontEnd().process(near, silence(6))
    before, after = spectra(near[RATE:-LATENCY]), spectra(heard[RATE + LATENCY :])
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99
    assert decibels(heard) == pytest.approx(decibels(near), abs=1)


def test_the_user_is_heard_through_the_echo() -> None:
    far, near = speech(12), np.concatenate([silence(8), 2 * speech(2), silence(2)])
    heard = FrontEnd().process(near + echo_of(far, delay=0.1, room=0.3), far)
    talking = slice(8 * RATE, 10 * RATE)
    assert decibels(heard[talking]) > decibels(near[talking]) - 6
    assert decibels(heard[6 * RATE : 8 * RATE]) < decibels(heard[talking]) - 25


def test_the_user_is_whole_in_the_linear_output_while_both_speak() -> None:
    user = files.read(SAMPLES / "follow-up.wav")
    near = np.concatenate([silence(8), user])
    far = np.resize(speech(3), len(near))
    front_end = FrontEnd()
    quiet = front_end.process(near + echo_of(far, delay=0.06, room=0.3), far)
    assert len(front_end.linear) == len(quiet)
    talking = slice(8 * RATE + LATENCY, len(quiet))
    heard, said = front_end.linear[talking], user[: len(quiet) - 8 * RATE - LATENCY]
    assert np.corrcoef(heard, said)[0, 1] > 0.85
    alone = front_end.linear[5 * RATE : 8 * RATE]
    assert decibels(far[5 * RATE : 8 * RATE]) - decibels(alone) > 12


def test_both_outputs_are_of_the_same_time() -> None:
    front_end = FrontEnd()
    quiet = front_end.process(speech(3), silence(3))
    spectrum = np.fft.rfft(front_end.linear) * np.conj(np.fft.rfft(quiet))
    assert abs(np.argmax(np.fft.irfft(spectrum / (np.abs(spectrum) + 1e-9)))) <= 2


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 16_000), max_size=12))
def test_pieces_of_any_length_give_the_same(cuts: list[int]) -> None:
    far = speech(1)
    near = echo_of(far, delay=0.05, room=0.1)
    at_once, front_end = FrontEnd(), FrontEnd()
    whole = at_once.process(near, far)
    edges = [0, *sorted(cuts), len(near)]
    pieces, linear = [], []
    for a, b in itertools.pairwise(edges):
        pieces.append(front_end.process(near[a:b], far[a:b]))
        linear.append(front_end.linear)
    assert all(len(piece) % FRAME == 0 for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(linear), at_once.linear)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_steady_noise_is_suppressed_and_only_on_request() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 8 * RATE).astype(np.float32)
    for switched_on, least, most in ((True, 8, 25), (False, -0.1, 0.1)):
        quiet = FrontEnd(echo=False, noise=switched_on).process(noise, silence(8))
        assert least < decibels(noise) - decibels(quiet[4 * RATE :]) < most


def test_a_quiet_voice_is_brought_up_and_only_on_request() -> None:
    near = 0.02 * speech(20)
    for switched_on, least, most in ((True, 10, 60), (False, -0.1, 0.1)):
        loud = FrontEnd(echo=False, gain=switched_on).process(near, silence(20))
        gain = decibels(loud[15 * RATE :]) - decibels(near[15 * RATE :])
        assert least < gain < most


def test_a_reset_forgets_the_room() -> None:
    far = speech(4)
    heard = echo_of(far, delay=0.05, room=0.2)
    front_end = FrontEnd()
    first = front_end.process(heard, far)
    front_end.process(heard[:100], far[:100])
    front_end.reset()
    np.testing.assert_array_equal(front_end.process(heard, far), first)


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    with pytest.raises(DeviceError, match="apt install libspeexdsp1"):
        FrontEnd()
    FrontEnd(echo=False)
