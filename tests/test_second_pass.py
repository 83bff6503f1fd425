"""The second pass: what else may have been said, and what the LLM makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_omni.adapter import Listener, WordAdapter, Words
from edge_omni.assistant import Assistant, Turn
from edge_omni.audio import files
from edge_omni.bundle import Bundle
from edge_omni.conversation import ChatLayout, Conversation
from edge_omni.encoder import Encoder
from edge_omni.errors import BundleError
from edge_omni.graph import Graph
from edge_omni.llm import LLM
from edge_omni.second_pass import Reading, SecondPass, likeliest
from edge_omni.spelling import Spelling

SAMPLES = Path(__file__).parent.parent / "samples"
WANTED = "What is the chemical symbol for fluorine?"
MISHEARD = "What is the chemical symbol for flooring?"


@pytest.fixture(scope="module")
def listener() -> Listener:
    bundle = Bundle("tiny")
    graphs = [Graph(bundle.path(role)) for role in ("encoder", "adapter_memory", "adapter_step")]
    settings = bundle.manifest.adapter.settings
    adapter = WordAdapter(graphs[1], graphs[2], settings, bundle.folder)
    return Listener(Encoder(graphs[0], bundle.manifest.encoder), adapter)


def doubtful() -> NDArray[np.float32]:
    """A question in so much noise that the decoder wavers."""
    pcm = files.read(SAMPLES / "follow-up.wav")
    hiss = np.random.default_rng(0).standard_normal(len(pcm)).astype(np.float32)
    return pcm + 1.4 * pcm.std() * hiss


def finished(listener: Listener, pcm: NDArray[np.float32]) -> list[Reading]:
    listener.reset()
    listener.push(pcm)
    listener.finish()
    return listener.readings()


def log_probability(listener: Listener, reading: Reading) -> float:
    """Of a reading's tokens and the end, read token by token."""
    bundle = Bundle("tiny")
    spelling = Spelling(bundle.folder / "tokens.json")
    step = Graph(bundle.path("adapter_step"))
    memory = listener._adapter._search._heard["memory"]  # type: ignore[attr-defined]
    given, state, total = spelling.prompt, step.start(), 0.0
    for token in (*reading.tokens, spelling.end):
        outputs, state = step(state, tokens=np.array([given], np.int64), memory=memory)
        ids, probabilities = outputs["top_ids"].numpy()[0, -1], outputs["top_probs"].numpy()[0, -1]
        total += float(np.log(probabilities[ids.tolist().index(token)]))
        given = [token]
    return total


def test_readings_are_what_the_decoder_says_they_are(listener: Listener) -> None:
    readings = finished(listener, doubtful())
    assert len(readings) > 1
    # To the rounding of eight-bit layers, that differs with how many tokens are read at once.
    for reading in readings:
        assert abs(log_probability(listener, reading) - reading.log_probability) < 0.2


def test_readings_differ_in_words_and_the_likeliest_comes_first(listener: Listener) -> None:
    readings = finished(listener, doubtful())
    logs = [reading.log_probability for reading in readings]
    assert logs == sorted(logs, reverse=True)
    words = ["".join(c for c in reading.text.lower() if c.isalnum()) for reading in readings]
    assert len(set(words)) == len(words)


def test_the_words_are_those_of_the_reading_that_is_taken(listener: Listener) -> None:
    readings = finished(listener, doubtful())
    fork = listener.fork()
    told = fork.take(readings[-1])
    assert told == Words(readings[-1].text)
    assert fork.caption == readings[-1].text != listener.caption
    fork.resume()
    fork.push(files.read(SAMPLES / "question.wav"))
    fork.finish()
    assert fork.caption.startswith(readings[-1].text)
    assert all(one.text.startswith(readings[-1].text) for one in fork.readings())


def test_nothing_heard_has_no_readings(listener: Listener) -> None:
    hiss = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    for pcm in (np.zeros(16_000, np.float32), 0.05 * hiss):
        readings = finished(listener, pcm)
        assert listener.caption or not readings
    listener.reset()
    listener.finish()
    assert listener.readings() == []


def test_a_bundle_may_have_no_second_pass(listener: Listener) -> None:
    bundle = Bundle("tiny")
    settings = {**bundle.manifest.adapter.settings}
    settings.pop("second_pass")
    graphs = [Graph(bundle.path(role)) for role in ("adapter_memory", "adapter_step")]
    adapter = WordAdapter(*graphs, settings, bundle.folder)
    single = Listener(listener._encoder.fork(), adapter)
    assert finished(single, doubtful()) == []
    assert single.caption


def test_a_setting_that_is_missing_is_named() -> None:
    bundle = Bundle("tiny")
    step, spelling = Graph(bundle.path("adapter_step")), Spelling(bundle.folder / "tokens.json")
    settings = {**bundle.manifest.adapter.settings["second_pass"]}
    del settings["margin"]
    with pytest.raises(BundleError, match="margin"):
        SecondPass(step, spelling, settings)


# The LLM's say


@pytest.fixture
def conversation(llm: LLM) -> Conversation:
    template = llm.chat_template
    assert template is not None
    return Conversation(llm, ChatLayout.from_template(template, "You are a helpful assistant."))


@pytest.mark.parametrize("heard", ["", "What is the chem", MISHEARD, WANTED])
def test_the_llm_weighs_what_makes_sense(conversation: Conversation, heard: str) -> None:
    conversation.hear(Words(heard))
    wanted, misheard = conversation.weigh([WANTED, MISHEARD])
    assert wanted > misheard + 1
    readings = [Reading((), MISHEARD, -1.0), Reading((), WANTED, -1.3)]
    assert likeliest(readings, [misheard, wanted], 0.3).text == WANTED
    assert likeliest(readings, [misheard, wanted], 0.0).text == MISHEARD


def test_weighing_leaves_the_memory_as_if_it_had_not_been(
    conversation: Conversation, llm: LLM
) -> None:
    conversation.hear(Words(WANTED))
    whole, head = llm.position(), conversation.begin_answer()
    conversation.reset()
    conversation.hear(Words(MISHEARD))
    conversation.weigh([MISHEARD, WANTED, "Is it fluorine?"])
    conversation.hear(Words(WANTED))
    assert llm.position() == whole
    assert np.abs(conversation.begin_answer() - head).max() < 1e-2 * head.std()


def test_one_reading_is_not_weighed(conversation: Conversation, llm: LLM) -> None:
    conversation.hear(Words(WANTED))
    position = llm.position()
    assert conversation.weigh([WANTED]) == [0.0]
    assert llm.position() == position


@pytest.fixture(scope="module")
def assistant() -> Iterator[Assistant]:
    assistant = Assistant(threads=1)
    yield assistant
    assistant.close()


def test_what_is_answered_is_what_is_shown(assistant: Assistant) -> None:
    assistant.reset()
    assistant.conversation.hear(assistant.listener.push(doubtful()))
    prepared = assistant.prepare()
    assert prepared is not None
    assert prepared.turn.caption == prepared.conversation.text == prepared.listener.caption
    assistant.discard(prepared)
    assert assistant.finish_turn(turn := Turn())
    assert turn.caption == assistant.conversation.text == prepared.turn.caption


def test_hearing_alone_leaves_the_conversation_as_it_was(assistant: Assistant) -> None:
    assistant.reset()
    position = assistant.conversation.position
    caption = assistant.hear(doubtful())
    assert caption
    assert assistant.conversation.position == position
    turn = assistant.ask(doubtful(), speak=False, max_tokens=1)
    assert replace(turn, text="").caption == caption
