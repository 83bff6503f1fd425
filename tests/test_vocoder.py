"""The vocoder: the same sound however the codes come, and no join to be heard."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from small_speaking import Speaking

from edge_omni.bundle import Bundle
from edge_omni.errors import BundleError
from edge_omni.graph import Graph
from edge_omni.vocoder import Vocoder


@pytest.fixture(scope="module", params=["small", "tiny"])
def vocoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vocoder:
    """One with random weights, and the one of the default bundle."""
    if request.param == "small":
        return Speaking(tmp_path_factory.mktemp("speaking")).runtime_vocoder()
    bundle = Bundle("tiny")
    return Vocoder(Graph(bundle.path("vocoder")), bundle.manifest.vocoder)


def speak(vocoder: Vocoder, codes: NDArray[np.int64], *sizes: int) -> NDArray[np.float32]:
    """The sound of codes pushed in pieces of the given sizes, again and again."""
    vocoder.reset()
    sound, at, turn = [], 0, 0
    while at < len(codes):
        size = sizes[turn % len(sizes)]
        sound.append(vocoder.push(codes[at : at + size]))
        at, turn = at + size, turn + 1
    return np.concatenate([*sound, vocoder.flush()])


def some_codes(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, 1024, count)


@pytest.mark.parametrize("sizes", [(1,), (8,), (3, 1, 7)])
def test_piece_by_piece_equals_the_whole(vocoder: Vocoder, sizes: tuple[int, ...]) -> None:
    codes = some_codes(40)
    whole = speak(vocoder, codes, len(codes))
    np.testing.assert_allclose(speak(vocoder, codes, *sizes), whole, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_each_code_has_its_samples_once_all_is_flushed(vocoder: Vocoder, count: int) -> None:
    sound = speak(vocoder, some_codes(count), 4)
    assert sound.dtype == np.float32
    assert len(sound) == count * vocoder.samples_per_code


def test_it_holds_back_no_more_than_its_delay(vocoder: Vocoder) -> None:
    vocoder.reset()
    codes = some_codes(12)
    given = sum(len(vocoder.push(codes[at : at + 1])) for at in range(len(codes)))
    assert len(codes) * vocoder.samples_per_code - given == vocoder.delay


def test_nothing_in_nothing_out(vocoder: Vocoder) -> None:
    vocoder.reset()
    assert len(vocoder.push(np.empty(0, np.int64))) == 0
    assert len(vocoder.flush()) == 0


def test_after_a_flush_a_new_sound_begins(vocoder: Vocoder) -> None:
    codes = some_codes(20)
    first = speak(vocoder, codes, 20)
    again = np.concatenate([vocoder.push(codes), vocoder.flush()])
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_joins_are_no_louder_than_the_sound_between_them(vocoder: Vocoder) -> None:
    codes = np.repeat(some_codes(6), 8)
    sound = speak(vocoder, codes, 1)
    jumps = np.abs(np.diff(sound))
    edges = np.arange(1, len(codes)) * vocoder.samples_per_code - 1
    assert jumps[edges].mean() < 2 * jumps.mean() + 1e-4


def test_silence_is_silent() -> None:
    bundle = Bundle("tiny")
    vocoder = Vocoder(Graph(bundle.path("vocoder")), bundle.manifest.vocoder)
    codes = np.full(40, bundle.manifest.vocoder["silence"])
    middle = speak(vocoder, codes, 40)[5000:-5000]
    assert np.sqrt(np.mean(middle**2)) < 1e-3


def test_a_manifest_without_its_settings_is_refused(vocoder: Vocoder) -> None:
    graph = Graph(Bundle("tiny").path("vocoder"))
    with pytest.raises(BundleError, match="silence"):
        Vocoder(graph, {"sample_rate": 22050, "samples_per_code": 512, "delay": 0})
