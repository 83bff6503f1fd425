"""The dialogue machine: the floor changes hands when it should."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_omni.dialogue import (
    Action,
    Answer,
    AnswerComplete,
    Audio,
    Dialogue,
    EndTurn,
    Event,
    Feed,
    Floor,
    Ignore,
    NothingHeard,
    Playback,
    StateProbabilities,
    Yield,
)

FRAME = 320


def hear(dialogue: Dialogue, seconds: float, *, voiced: bool) -> list[Action]:
    frames = round(seconds * 16_000 / FRAME)
    return [action for _ in range(frames) for action in dialogue.handle(Audio(FRAME, voiced))]


def kinds(actions: list[Action]) -> list[type]:
    """The actions in order, runs of feeding counted once."""
    found = [type(action) for action in actions]
    return [kind for i, kind in enumerate(found) if i == 0 or kind != found[i - 1]]


def test_speech_opens_a_turn_and_silence_closes_it() -> None:
    dialogue = Dialogue()
    assert hear(dialogue, 1, voiced=False) == []
    assert kinds(hear(dialogue, 2, voiced=True)) == [Feed]
    assert dialogue.floor is Floor.USER
    assert kinds(hear(dialogue, 1, voiced=False)) == [Feed, Answer]
    assert dialogue.floor is Floor.ASSISTANT


def test_the_turn_is_fed_without_gap_or_overlap_from_before_its_first_sound() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=False)
    actions = hear(dialogue, 1, voiced=True) + hear(dialogue, 1, voiced=False)
    feeds = [action for action in actions if isinstance(action, Feed)]
    assert feeds[0].start < 16_000
    assert all(a.end == b.start for a, b in itertools.pairwise(feeds))


def test_the_end_of_speech_is_the_last_voiced_sample() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    answers = [a for a in hear(dialogue, 2, voiced=False) if isinstance(a, Answer)]
    assert answers == [Answer(16_000)]


def test_a_click_is_ignored() -> None:
    dialogue = Dialogue()
    hear(dialogue, 0.14, voiced=True)
    assert kinds(hear(dialogue, 1, voiced=False)) == [Feed, Ignore]
    assert dialogue.floor is Floor.NOBODY


def test_a_pause_shorter_than_the_silence_keeps_the_turn() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    assert kinds(hear(dialogue, 0.4, voiced=False)) == [Feed]
    assert kinds(hear(dialogue, 1, voiced=True)) == [Feed]
    assert dialogue.floor is Floor.USER


def test_the_turn_ends_when_the_whole_answer_was_heard() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 1, voiced=False)
    assert dialogue.handle(Playback(500)) == []
    assert dialogue.handle(AnswerComplete(1000)) == []
    assert dialogue.handle(Playback(999)) == []
    assert dialogue.handle(Playback(1000)) == [EndTurn()]
    assert dialogue.floor is Floor.NOBODY


def test_a_turn_without_words_gives_the_floor_back() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 1, voiced=False)
    assert dialogue.handle(NothingHeard()) == [Ignore()]
    assert dialogue.floor is Floor.NOBODY


def test_the_state_head_can_close_a_turn_before_the_silence_does() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    assert dialogue.handle(StateProbabilities(0.2, 0.7, 0.1)) == [Answer(16_000)]


def test_leaving_in_mid_answer_forgets_what_was_not_heard() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 1, voiced=False)
    dialogue.handle(Playback(320))
    assert dialogue.interrupt() == [Yield(320)]


def test_an_endless_turn_is_answered_at_last() -> None:
    dialogue = Dialogue()
    assert Answer in kinds(hear(dialogue, 200, voiced=True))


EVENTS = st.one_of(
    st.builds(Audio, st.integers(1, 8000), st.booleans()),
    st.builds(AnswerComplete, st.integers(0, 1000)),
    st.builds(Playback, st.integers(0, 2000)),
    st.just(NothingHeard()),
    st.just(StateProbabilities(0.1, 0.1, 0.8)),
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_the_floor_comes_free_again(events: list[Event]) -> None:
    dialogue = Dialogue()
    for event in events:
        dialogue.handle(event)
    hear(dialogue, 2, voiced=False)
    dialogue.handle(AnswerComplete(100))
    dialogue.handle(Playback(100))
    hear(dialogue, 2, voiced=False)
    dialogue.handle(AnswerComplete(100))
    dialogue.handle(Playback(100))
    assert dialogue.floor is Floor.NOBODY
