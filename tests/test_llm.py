"""The frozen LLM: what goes in as embeddings, what is remembered, and that it stays frozen."""

from __future__ import annotations

from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from edge_omni.bundle import Bundle
from edge_omni.conversation import ChatLayout, Conversation
from edge_omni.errors import LLMError
from edge_omni.fetch import sha256
from edge_omni.llm import LLM, Sampling, model_parameters
from edge_omni.row_scale import difference

PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nName three colours of a rainbow.<|im_end|>\n<|im_start|>assistant\n"
)


def greedy(llm: LLM, count: int) -> list[int]:
    llm.begin_sampling(Sampling(), 0)
    tokens: list[int] = []
    while len(tokens) < count:
        tokens.append(llm.sample())
        llm.append(tokens[-1:])
    return tokens


def test_embeddings_in_equal_tokens_in(llm: LLM) -> None:
    tokens = llm.tokenize(PROMPT, special=True)
    by_token, logits = llm.append(tokens), llm.logits()
    llm.rewind(0)
    by_embedding = llm.append(llm.embedding_rows(tokens))
    assert np.array_equal(by_token, by_embedding)
    assert np.array_equal(logits, llm.logits())


def test_greedy_tokens_equal_plain_llama_cpp(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = llm.tokenize(PROMPT, special=True)
    llm.append(tokens)
    ours = greedy(llm, 24)
    # llama.cpp's own default is flash attention where it can; the high-level class turns it off.
    # Nor has it an option that keeps it from the kernels that crash.
    monkeypatch.setattr("llama_cpp.llama_cpp.llama_model_default_params", model_parameters)
    plain = llama_cpp.Llama(str(llm.path), n_ctx=512, n_threads=1, flash_attn=True, verbose=False)
    assert plain.tokenize(PROMPT.encode(), add_bos=False, special=True) == tokens
    theirs = []
    for token in plain.generate(tokens, temp=0.0, repeat_penalty=1.0):
        theirs.append(token)
        if len(theirs) == len(ours):
            break
    plain.close()
    assert ours == theirs


def test_the_llm_file_is_byte_identical_after_use(bundle: Bundle, llm_path: Path) -> None:
    assert sha256(llm_path) == bundle.manifest.llm.sha256
    llm = LLM(llm_path, context=256, threads=1)
    llm.append(llm.tokenize(PROMPT, special=True))
    greedy(llm, 8)
    llm.close()
    assert sha256(llm_path) == bundle.manifest.llm.sha256


def test_a_rewound_memory_is_as_if_never_written(llm: LLM) -> None:
    tokens = llm.tokenize(PROMPT, special=True)
    llm.append(tokens)
    expected = greedy(llm, 6)
    llm.rewind(len(tokens) - 5)
    llm.append(llm.tokenize(" something else entirely"))
    llm.rewind(len(tokens) - 5)
    llm.append(tokens[-5:])
    assert greedy(llm, 6) == expected


def test_a_fork_goes_its_own_way(llm: LLM) -> None:
    tokens = llm.tokenize(PROMPT, special=True)
    llm.append(tokens[:-1])
    llm.fork(0, 1)
    llm.append(llm.tokenize(" nonsense"), sequence=1)
    llm.append(tokens[-1:])
    forked = greedy(llm, 6)
    llm.rewind(0)
    llm.rewind(0, sequence=1)
    llm.append(tokens)
    assert greedy(llm, 6) == forked


def test_a_full_memory_is_an_error_not_a_crash(llm: LLM) -> None:
    with pytest.raises(LLMError, match="full"):
        llm.append([1] * (llm.context + 1))


def test_old_turns_are_dropped_and_the_system_prompt_stays(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    layout = ChatLayout.from_template(template, "You are a helpful assistant.")
    conversation = Conversation(llm, layout)
    opening = llm.position()
    for _ in range(12):
        conversation.hear_text("Tell me about the sea, please, in a few words. " * 3)
        answer = list(conversation.answer(20, Sampling(), 0))
        assert answer
        conversation.end_answer()
        assert opening < llm.position() <= llm.context


def test_an_answer_ends_where_the_memory_does(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Be brief."))
    conversation.hear_text("word " * (llm.context - 60))
    assert 0 < len(list(conversation.say("again and " * 60))) < 60
    conversation.end_answer()
    assert llm.position() <= llm.context


def test_what_was_not_heard_was_not_said(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Be brief."))
    conversation.hear_text("Count from one to ten.")
    before = None
    text = ""
    for token in conversation.answer(12, Sampling(), 0):
        before = llm.position() if before is None else before
        text += token.text
    conversation.keep_answer(0)
    assert before is not None
    assert llm.position() == before - 1
    assert len(text) > 0


def test_missing_truncated_and_foreign_files_are_told(tmp_path: Path, llm_path: Path) -> None:
    with pytest.raises(LLMError, match="no LLM file"):
        LLM(tmp_path / "none.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(llm_path.read_bytes()[:5_000_000])
    with pytest.raises(LLMError, match="cut"):
        LLM(cut)
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(LLMError, match="not a GGUF"):
        LLM(foreign)


def test_a_fork_of_a_conversation_is_kept_or_dropped(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Be brief."))
    conversation.hear_text("Name a fruit")
    expected = llm.position()
    other = conversation.fork()
    assert other is not None
    said = [token.text for token in other.answer(6, Sampling(), 0)]
    # Meanwhile the user goes on: neither side sees the other.
    conversation.hear_text(" that is yellow.")
    assert other.position > expected
    conversation.drop(other)
    assert other.position == 0
    longer = conversation.begin_answer()
    conversation.reset()
    conversation.hear_text("Name a fruit")
    assert [token.text for token in conversation.answer(6, Sampling(), 0)] == said
    conversation.reset()
    # In the same pieces. Where a fork has lain between them, sums round otherwise, and activations
    # of eight bits make more of it: another text is twice as far off.
    conversation.hear_text("Name a fruit")
    conversation.hear_text(" that is yellow.")
    assert difference(conversation.begin_answer(), longer) < 0.4


def test_an_answer_goes_on_while_something_else_is_read(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Be brief."))
    conversation.hear_text("Name three colours of a rainbow.")
    alone = [token.text for token in conversation.answer(12, Sampling(), 0)]
    conversation.reset()
    conversation.hear_text("Name three colours of a rainbow.")
    other = conversation.fork()
    assert other is not None
    disturbed = []
    for token in other.answer(12, Sampling(), 0):
        disturbed.append(token.text)
        conversation.hear_text(" Well,")
    assert disturbed == alone


def test_there_is_no_fork_where_there_is_no_room(llm: LLM) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Be brief."))
    conversation.hear_text("word " * (llm.context - 100))
    assert conversation.fork() is None


@pytest.mark.parametrize("words", [0, 4])
def test_an_answer_that_was_stopped_goes_on_as_if_it_had_not_been(llm: LLM, words: int) -> None:
    template = llm.chat_template
    assert template is not None
    conversation = Conversation(llm, ChatLayout.from_template(template, "Explain at length."))
    sampling = Sampling(temperature=0.0, repeat_penalty=1.3)
    assert not conversation.reopen_answer(0)
    conversation.hear_text("Why is the sky blue?")
    whole = [token.text for token in conversation.answer(40, sampling, 0)]
    position = llm.position()
    conversation.keep_answer(len("".join(whole[:20])))
    conversation.end_answer()
    conversation.hear_text("Mia, please shut the door.")
    assert conversation.reopen_answer(len("".join(whole[:words])))
    # Twice in a row: the second time it goes on behind what the first one said.
    again = [token.text for token in conversation.answer(6, sampling, 0)]
    conversation.keep_answer(len("".join(again[:3])))
    conversation.end_answer()
    conversation.hear_text("Thanks, Mia.")
    assert conversation.reopen_answer(len("".join(again[:3])))
    rest = [token.text for token in conversation.answer(40 - words - 3, sampling, 0)]
    assert whole[:words] + again[:3] + rest == whole
    assert llm.position() == position
