"""What was heard for certain was read: words enter the LLM as the tokens that typing them gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from convert import random_llm
from convert.vocabulary import GEMMA, LLAMA2, sentencepiece
from edge_omni.adapter import Words
from edge_omni.conversation import ChatLayout, Conversation
from edge_omni.llm import LLM, Sampling
from edge_omni.row_scale import difference

SYSTEM = "You are a helpful voice assistant. Answer in one or two short sentences."
QUESTIONS = (
    "What is 10 divided by 2?",
    "How many continents are there in the world?",
    "Who founded Cao Dai in 1926, and what does it cost: $2.50 or 1,000 ₫?",
)


@pytest.fixture
def conversation(llm: LLM) -> Conversation:
    template = llm.chat_template
    assert template is not None
    return Conversation(llm, ChatLayout.from_template(template, SYSTEM))


def growing(text: str) -> list[Words]:
    """A question as it is heard word by word, the newest word often only begun or another one."""
    words = text.split()
    heard = []
    for count in range(1, len(words) + 1):
        before = words[: count - 1]
        heard += [Words(" ".join([*before, guess])) for guess in (words[count - 1][:2], "floor.")]
    return [*heard, Words(text)]


def answer(conversation: Conversation) -> list[int]:
    list(conversation.answer(24, Sampling(), 0))
    return conversation.answer_tokens


@pytest.mark.parametrize("question", QUESTIONS)
def test_words_that_are_heard_are_the_tokens_of_the_template(
    conversation: Conversation, llm: LLM, question: str
) -> None:
    template = llm.chat_template
    assert template is not None
    layout = ChatLayout.from_template(template, SYSTEM)
    for words in growing(question):
        conversation.hear(words)
    conversation.begin_answer()
    tokens = llm.tokenize(layout.opening + question + layout.answer, special=True)
    assert llm.position() == len(tokens)
    heard = llm.logits()
    llm.rewind(0)
    llm.append(tokens)
    assert difference(heard, llm.logits()) < 1e-2


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_heard_at_once_is_what_is_typed_to_the_bit(
    conversation: Conversation, llm: LLM, question: str
) -> None:
    conversation.hear_text(question)
    head, scores = conversation.begin_answer(), llm.logits()
    conversation.reset()
    conversation.hear(Words(question))
    np.testing.assert_array_equal(conversation.begin_answer(), head)
    np.testing.assert_array_equal(llm.logits(), scores)


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_heard_word_by_word_is_answered_as_what_is_typed(
    conversation: Conversation, question: str
) -> None:
    conversation.hear_text(question)
    head, typed = conversation.begin_answer(), answer(conversation)
    conversation.reset()
    for words in growing(question):
        conversation.hear(words)
    assert difference(conversation.begin_answer(), head) < 1e-2
    assert answer(conversation) == typed


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LLM]:
    """LLMs with SentencePiece vocabularies: one with a space before every text, as Llama 2 has it,
    and one whose embeddings are scaled, as Gemma's are."""
    markers = ("<start_of_turn>", "<end_of_turn>")
    vocabularies = {
        "llama": sentencepiece(LLAMA2),
        "gemma3": sentencepiece(GEMMA, markers, space_prefix=False),
    }
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    vocabulary = vocabularies[request.param]
    random_llm.write(path, random_llm.Sizes(), vocabulary, kind="F16", architecture=request.param)
    llm = LLM(path, context=512, threads=1)
    yield llm
    llm.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_any_llm_hears_the_tokens_that_it_would_read(small: LLM, question: str) -> None:
    template = small.chat_template
    assert template is not None
    layout = ChatLayout.from_template(template, SYSTEM)
    small.rewind(0)
    conversation = Conversation(small, layout)
    for words in growing(question):
        conversation.hear(words)
    conversation.begin_answer()
    heard = small.logits()
    tokens = small.tokenize(layout.opening + question + layout.answer, special=True)
    tokens = [small.bos, *tokens] if small.bos not in (None, tokens[0]) else tokens
    assert small.position() == len(tokens)
    small.rewind(0)
    small.append(tokens)
    # Random weights make much of how sums are rounded; another token is a hundred times as far off.
    assert difference(heard, small.logits()) < 0.02


def test_only_what_changes_is_read_again(
    conversation: Conversation, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    append = llm.append

    def counting(items: list[int], *, sequence: int = 0) -> object:
        read.append(len(items))
        return append(items, sequence=sequence)

    monkeypatch.setattr(llm, "append", counting)
    for text in ("What is the", "What is the flooring", "What is the fluorine", "What is the"):
        conversation.hear(Words(text))
    whole = llm.tokenize("What is the fluorine")
    assert len(read) == 3
    assert sum(read[1:]) <= 2 * (len(whole) - read[0])


def test_an_empty_turn_is_empty_also_when_its_words_were_taken_back(
    conversation: Conversation,
) -> None:
    conversation.hear(Words(""))
    assert conversation.empty
    conversation.hear(Words("Hm"))
    assert not conversation.empty
    conversation.hear(Words(""))
    assert conversation.empty


def test_words_are_no_markers(conversation: Conversation, llm: LLM) -> None:
    conversation.hear(Words("<|im_end|>"))
    heard = llm.position()
    conversation.reset()
    assert heard - llm.position() > 1
