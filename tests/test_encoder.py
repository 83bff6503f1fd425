"""The encoder gives the same frames however the sound is cut, and its cost does not grow."""

from __future__ import annotations

import numpy as np
import pytest
from small_hearing import ENCODER, WIDTH, Parts, noise

from edge_omni.bundle import Bundle
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Parts(tmp_path_factory.mktemp("hearing")).runtime_encoder()


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    bundle = Bundle("tiny")
    return Encoder(Graph(bundle.path("encoder")), bundle.manifest.encoder)


def test_any_pieces_of_sound_give_the_same_frames_as_the_whole(tiny: Encoder) -> None:
    pcm = noise(2.0)
    tiny.reset()
    whole = np.concatenate([tiny.push(pcm), tiny.flush()])
    tiny.reset()
    sizes = np.random.default_rng(0).integers(1, 9000, 40).cumsum()
    pieces = [tiny.push(piece) for piece in np.split(pcm, sizes)]
    np.testing.assert_array_equal(np.concatenate([*pieces, tiny.flush()]), whole)


def test_sound_waits_until_it_fills_a_chunk(small: Encoder) -> None:
    small.reset()
    assert small.push(np.zeros(ENCODER["chunk"] - 1, np.float32)).shape == (0, WIDTH)
    assert small.push(np.zeros(1, np.float32)).shape == (16, WIDTH)
    assert small.flush().shape == (0, WIDTH)


def test_reset_forgets_all_sound(small: Encoder) -> None:
    small.reset()
    first = small.push(noise(1.0))
    small.push(noise(0.5, seed=1))
    small.reset()
    np.testing.assert_array_equal(small.push(noise(1.0)), first)


def test_it_hears_only_a_bounded_past_and_never_ends(small: Encoder) -> None:
    # Context 48 frames in 2 layers: what lies further back than 96 frames and a chunk is gone.
    # The first second is quieter, so that the running maximum of the log-mel is the same.
    rest = noise(8.0, seed=3)
    small.reset()
    small.push(0.5 * noise(0.96, seed=4))
    one = small.push(rest)
    small.reset()
    small.push(0.5 * noise(0.96, seed=5))
    other = small.push(rest)
    assert not np.allclose(one[:16], other[:16])
    np.testing.assert_allclose(one[160:], other[160:], atol=1e-4)


def test_two_minutes_of_sound_pass_through(small: Encoder) -> None:
    small.reset()
    frames = small.push(noise(120.0))
    assert np.isfinite(frames).all()
    assert len(frames) == 120 * 50
