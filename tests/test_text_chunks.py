"""Text chunks: where an answer is cut for the voice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_omni.bundle import Speech
from edge_omni.conversation import Token
from edge_omni.text_chunks import TextChunk, TextChunker


def chunks(*pieces: str) -> list[TextChunk]:
    chunker = TextChunker(Speech())
    found = [chunker.push(Token(piece, np.zeros(2, np.float32))) for piece in pieces]
    found.append(chunker.finish())
    return [chunk for chunk in found if chunk is not None]


def texts(*pieces: str) -> list[str]:
    return [chunk.text for chunk in chunks(*pieces)]


def test_a_sentence_is_a_chunk() -> None:
    assert texts("The", " sky", " is", " blue", ".", " It", " is", " high", " up", ".") == [
        "The sky is blue.",
        " It is high up.",
    ]


def test_only_the_first_chunk_ends_at_a_comma() -> None:
    words = [" one", " two", " three", " four", ","]
    assert texts(*words, *words, *words) == ["".join(words), "".join(words * 2)]


def test_too_few_tokens_wait_for_more() -> None:
    assert texts("Yes", ".", " Of", " course", ".") == ["Yes. Of course."]


def test_a_number_is_not_cut_at_its_point() -> None:
    assert texts("It", " is", " about", " 3", ".", "14", " today", ".") == [
        "It is about 3.14 today."
    ]


def test_a_long_first_sentence_is_cut_at_a_word() -> None:
    first = texts(*[" word"] * 30)[0]
    assert first == " word" * Speech().first_most_tokens


@given(st.lists(st.text(min_size=0, max_size=6), max_size=80))
def test_nothing_is_lost_and_every_chunk_knows_its_place(pieces: list[str]) -> None:
    found = chunks(*pieces)
    whole = "".join(pieces)
    assert "".join(chunk.text for chunk in found) == whole
    assert sum(len(chunk.hidden) for chunk in found) == len(pieces)
    for chunk in found:
        assert whole[chunk.start : chunk.start + len(chunk.text)] == chunk.text
