"""The speech decoder says every text, in bounded time, and knows how far it has come."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from small_speaking import LLM_WIDTH, Speaking

from convert.decoder import LONGEST_SLOT
from edge_omni.decoder import SpeechDecoder, Spoken
from edge_omni.errors import BundleError

TEXT = "Well, the cat sat on the mat. Was it happy? "


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Speaking:
    return Speaking(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def decoder(speaking: Speaking) -> SpeechDecoder:
    return speaking.runtime_decoder()


def codes(blocks: list[Spoken]) -> NDArray[np.int64]:
    return np.concatenate([block.codes for block in blocks])


def hidden(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((count, LLM_WIDTH)).astype(np.float32)


@pytest.mark.parametrize("text", ["", " ", "\n", "😀", "...", "🎉 !?", "\x00"])
def test_what_cannot_be_said_is_left_out(decoder: SpeechDecoder, text: str) -> None:
    assert list(decoder.speak(text, None)) == []


@pytest.mark.parametrize(
    "text",
    ["a", TEXT, "Fine 😀 then", "x" * 900, "word " * 300, "1234567890" * 30, "Ünïcödé naïve"],
)
def test_the_end_of_the_text_is_reached_and_never_passed(decoder: SpeechDecoder, text: str) -> None:
    blocks = list(decoder.speak(text, None))
    at = [block.character for block in blocks]
    assert at == sorted(at)
    assert at[-1] == len(text)
    assert all(0 < len(block.codes) <= 8 for block in blocks)


def test_the_length_of_the_speech_is_bounded_by_that_of_the_text(decoder: SpeechDecoder) -> None:
    text = "so " * 200
    assert len(codes(list(decoder.speak(text, None)))) <= 2 * LONGEST_SLOT * 2 * len(text)


def test_the_same_seed_says_the_same(decoder: SpeechDecoder) -> None:
    said = []
    for seed in (1, 1, 2):
        decoder.reset(seed)
        said.append(codes(list(decoder.speak(TEXT, None))))
    np.testing.assert_array_equal(said[0], said[1])
    assert said[0].shape == said[2].shape
    assert (said[0] != said[2]).any()


def test_with_top_k_1_chance_plays_no_part(speaking: Speaking) -> None:
    decoder = speaking.runtime_decoder(top_k=1)
    said = []
    for seed in (1, 2):
        decoder.reset(seed)
        said.append(codes(list(decoder.speak(TEXT, None))))
    np.testing.assert_array_equal(said[0], said[1])


def test_sentences_of_one_chunk_are_said_as_those_of_two(decoder: SpeechDecoder) -> None:
    first, second = "It is so.", " I know."
    together = codes(list(decoder.speak(first + second, None)))
    decoder.reset()
    apart = [*decoder.speak(first, None), *decoder.speak(second, None)]
    np.testing.assert_array_equal(together, codes(apart))


def test_the_voice_goes_on_from_chunk_to_chunk(decoder: SpeechDecoder) -> None:
    list(decoder.speak("It is so.", None))
    following = codes(list(decoder.speak(" I know.", None)))
    decoder.reset()
    alone = codes(list(decoder.speak(" I know.", None)))
    assert len(following) == len(alone)
    assert (following != alone).any()


def test_the_llm_s_hidden_states_change_how_it_is_said(decoder: SpeechDecoder) -> None:
    plain = codes(list(decoder.speak(TEXT, None)))
    for empty in (np.empty((0, LLM_WIDTH), np.float32), None):
        decoder.reset()
        np.testing.assert_array_equal(codes(list(decoder.speak(TEXT, empty))), plain)
    decoder.reset()
    coloured = codes(list(decoder.speak(TEXT, hidden(9))))
    assert len(coloured) == len(plain)
    assert (coloured != plain).any()


def test_it_can_be_stopped_between_any_two_blocks(decoder: SpeechDecoder) -> None:
    blocks = decoder.speak(TEXT, None)
    first = next(blocks)
    blocks.close()
    decoder.reset()
    np.testing.assert_array_equal(next(decoder.speak(TEXT, None)).codes, first.codes)


def test_a_manifest_without_its_settings_is_refused(speaking: Speaking) -> None:
    graphs = [speaking.graph(f"decoder_{name}") for name in ("text", "prefix", "step")]
    with pytest.raises(BundleError, match="top_k"):
        SpeechDecoder(*graphs, {"characters": "abc"})
