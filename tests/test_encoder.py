"""The encoder gives the same frames however the sound is cut, and its cost does not grow."""

from __future__ import annotations

import numpy as np
import pytest
from small_hearing import ENCODER, WIDTH, Parts, noise

from edge_omni.bundle import Bundle
from edge_omni.encoder import Encoder, Pcm
from edge_omni.graph import Graph


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Parts(tmp_path_factory.mktemp("hearing")).runtime_encoder()


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    bundle = Bundle("tiny")
    return Encoder(Graph(bundle.path("encoder")), bundle.manifest.encoder)


def whole_turn(encoder: Encoder, *pieces: Pcm) -> Pcm:
    """Final frames of sound pushed piece by piece."""
    encoder.reset()
    frames = [encoder.push(piece).final for piece in pieces]
    return np.concatenate([*frames, encoder.flush().final])


def test_any_pieces_of_sound_give_the_same_frames_as_the_whole(tiny: Encoder) -> None:
    pcm = noise(2.0)
    sizes = np.random.default_rng(0).integers(1, 9000, 40).cumsum()
    pieces = np.split(pcm, sizes)
    np.testing.assert_array_equal(whole_turn(tiny, *pieces), whole_turn(tiny, pcm))


def test_sound_waits_until_it_fills_a_chunk(small: Encoder) -> None:
    small.reset()
    assert len(small.push(np.zeros(ENCODER["chunk"] - 1, np.float32))) == 0
    frames = small.push(np.zeros(1, np.float32))
    assert frames.final.shape == (0, WIDTH)
    assert frames.provisional.shape == (16, WIDTH)
    assert len(small.flush()) == 16
    assert len(small.flush()) == 0


def test_provisional_frames_come_again_with_the_sound_behind_them(small: Encoder) -> None:
    small.reset()
    first = small.push(noise(0.32))
    second = small.push(noise(0.32, seed=1))
    third = small.push(noise(0.32, seed=2))
    assert len(second.final) == 0
    assert len(second.provisional) == 32
    assert third.final.shape == first.provisional.shape
    assert not np.allclose(second.provisional[:16], first.provisional, atol=1e-3)
    assert not np.allclose(third.final, second.provisional[:16], atol=1e-3)


def test_reset_forgets_all_sound(small: Encoder) -> None:
    first = whole_turn(small, noise(1.0))
    whole_turn(small, noise(0.5, seed=1))
    np.testing.assert_array_equal(whole_turn(small, noise(1.0)), first)


def test_it_hears_only_a_bounded_past(small: Encoder) -> None:
    # Context 48 frames in 2 layers: what lies further back than 96 frames and three chunks is gone.
    # The first second is quieter, so that the running maximum of the log-mel is the same.
    rest = noise(8.0, seed=3)
    one = whole_turn(small, 0.5 * noise(0.96, seed=4), rest)
    other = whole_turn(small, 0.5 * noise(0.96, seed=5), rest)
    assert not np.allclose(one[:64], other[:64], atol=1e-3)
    np.testing.assert_allclose(one[208:], other[208:], atol=1e-4)


def test_two_minutes_of_sound_pass_through(small: Encoder) -> None:
    frames = whole_turn(small, noise(120.0))
    assert np.isfinite(frames).all()
    assert len(frames) == 120 * 50
