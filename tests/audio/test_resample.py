"""Sampling rates: piece by piece gives what the whole gives."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_omni.audio.resample import Resampler, resample

RATES = [(48_000, 16_000), (44_100, 16_000), (22_050, 48_000), (16_000, 44_100), (16_000, 16_000)]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 9_000), max_size=12))
def test_a_stream_equals_the_whole(from_rate: int, to_rate: int, cuts: list[int]) -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, 9_000).astype(np.float32)
    resampler = Resampler(from_rate, to_rate)
    edges = [0, *sorted(cuts), len(pcm)]
    pieces = [resampler.push(pcm[a:b]) for a, b in itertools.pairwise(edges)]
    stream = np.concatenate([*pieces, resampler.flush()])
    whole = resample(pcm, from_rate, to_rate)
    assert stream.dtype == np.float32
    assert abs(len(stream) - len(whole)) <= 1
    shortest = min(len(stream), len(whole))
    np.testing.assert_allclose(stream[:shortest], whole[:shortest], atol=1e-5)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_stream_can_be_used_again(from_rate: int, to_rate: int) -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, 5_000).astype(np.float32)
    resampler = Resampler(from_rate, to_rate)
    first = np.concatenate([resampler.push(pcm), resampler.flush()])
    resampler.push(pcm[:1234])
    resampler.reset()
    again = np.concatenate([resampler.push(pcm), resampler.flush()])
    np.testing.assert_array_equal(first, again)


def test_a_tone_keeps_its_pitch_and_level() -> None:
    time = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 1_000 * time).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resample(tone, 48_000, 16_000))) / 8_000
    assert spectrum.argmax() == 1_000
    assert spectrum.max() == pytest.approx(1.0, abs=0.01)


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    time = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 10_000 * time).astype(np.float32)
    assert np.abs(resample(tone, 48_000, 16_000)[500:-500]).max() < 1e-3
