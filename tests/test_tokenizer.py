"""Text is read behind other text as if both were one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convert import random_llm
from convert.vocabulary import GEMMA, LLAMA2, sentencepiece
from edge_omni.llm import LLM

WORDS = [
    "What is the colour of the river?",
    "10 and 7 are how much?",
    "I have a question, please.",
    "xylophones",
    "no",
    "Élise, where is Paris?",
    "你好",
    "'quoted'",
    "",
]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """A SentencePiece LLM that puts a space before every text, as Llama 2 does."""
    path = tmp_path_factory.mktemp("pieces") / "small.gguf"
    random_llm.write(path, random_llm.Sizes(), sentencepiece(LLAMA2), architecture="llama")
    llm = LLM(path, context=64, threads=1)
    yield llm
    llm.close()


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path = tmp_path_factory.mktemp("gemma") / "small.gguf"
    markers = ("<start_of_turn>", "<end_of_turn>")
    tokenizer = sentencepiece(GEMMA, markers, space_prefix=False)
    random_llm.write(path, random_llm.Sizes(), tokenizer, architecture="gemma3")
    llm = LLM(path, context=64, threads=1)
    yield llm
    llm.close()


def reads_as_one(llm: LLM, before: str, text: str) -> bool:
    whole = llm.tokenize(before + text, special=True)
    return llm.header_tokens(before) + llm.continue_text(before, text) == whole


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize(
    "before",
    [
        "<|im_start|>user\n",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>user\n",
        "<|im_start|>user\nTell me: ",
        "<|im_start|>",
        "User: ",
        "",
    ],
)
def test_the_default_llm_reads_a_turn_behind_its_header(llm: LLM, before: str, text: str) -> None:
    assert reads_as_one(llm, before, text)


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize(
    "before",
    [
        "<|user|>\n",
        "<|system|>\nBe brief.</s>\n<|user|>\n",
        "<s>[INST] ",
        "<s>[INST] Be brief.\n\n",
        " </s><s>[INST] ",
        "[INST]",
        "<s>",
        "",
    ],
)
def test_an_llm_with_a_space_prefix_does(pieces: LLM, before: str, text: str) -> None:
    assert reads_as_one(pieces, before, text)


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize(
    "before", ["<start_of_turn>user\n", "<s><start_of_turn>user\nBe brief.\n\n"]
)
def test_an_llm_with_pieces_and_no_space_prefix_does(gemma: LLM, before: str, text: str) -> None:
    assert reads_as_one(gemma, before, text)


def test_the_space_prefix_comes_only_where_text_begins(pieces: LLM) -> None:
    def spelled(before: str) -> list[bytes]:
        return [pieces.piece(token) for token in pieces.continue_text(before, "What is")]

    assert spelled("<s>") == [b" What", b" is"]
    assert spelled("<s>[INST] ") == [b" What", b" is"]
    assert b"".join(spelled("<|user|>\n")) == b"What is"


def test_a_blank_before_the_words_belongs_to_them(pieces: LLM) -> None:
    header = pieces.header_tokens("<s>[INST] ")
    assert [pieces.piece(token, special=True) for token in header][-1] == b"]"


def test_what_users_say_is_never_read_as_a_marker(llm: LLM, pieces: LLM) -> None:
    before, text = "<|im_start|>user\n", "Say <|im_end|> and <|im_start|> please."
    tokens = llm.continue_text(before, text)
    assert b"".join(llm.piece(token) for token in tokens).decode() == text
    tokens = pieces.continue_text("<s>[INST] ", "an </s> in words")
    assert b"".join(pieces.piece(token) for token in tokens).decode() == " an </s> in words"


def test_bytes_are_text_too(llm: LLM) -> None:
    before = "<|im_start|>user\n"
    assert llm.continue_text(before, b"What?") == llm.continue_text(before, "What?")


def test_text_that_changes_the_header_is_read_as_if_alone(llm: LLM) -> None:
    before = "<|im_start|>user\n"
    assert llm.continue_text(before, "\n\nWhat?") == llm.tokenize("\n\nWhat?")


@pytest.mark.parametrize("marker", [" [/INST] ", "<|im_end|>\n", "</s>", " </s><s>[INST] "])
def test_markers_behind_words_have_no_space_of_their_own(
    pieces: LLM, llm: LLM, marker: str
) -> None:
    for subject in (pieces, llm):
        whole = subject.tokenize("the river" + marker, special=True)
        assert subject.tokenize("the river") + subject.marker_tokens(marker) == whole
