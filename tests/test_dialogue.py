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
    Continue,
    Dialogue,
    Discard,
    EndTurn,
    Event,
    Feed,
    Floor,
    Ignore,
    Lower,
    NothingHeard,
    Playback,
    Prepare,
    Raise,
    Resume,
    Rules,
    StateProbabilities,
    Yield,
)

FRAME = 320


def hear(dialogue: Dialogue, seconds: float, *, voiced: bool) -> list[Action]:
    frames = round(seconds * 16_000 / FRAME)
    return [action for _ in range(frames) for action in dialogue.handle(Audio(FRAME, voiced))]


def kinds(actions: list[Action]) -> list[type]:
    """The decisions in order, without the feeding."""
    return [type(action) for action in actions if not isinstance(action, Feed)]


def speaking(rules: Rules | None = None) -> Dialogue:
    """A dialogue in which the user has asked, and half a second of the answer was heard."""
    dialogue = Dialogue(rules or Rules())
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 0.6, voiced=False)
    dialogue.handle(Playback(8_000))
    assert dialogue.floor is Floor.ASSISTANT
    return dialogue


def test_speech_opens_a_turn_and_silence_closes_it() -> None:
    dialogue = Dialogue()
    assert hear(dialogue, 1, voiced=False) == []
    assert kinds(hear(dialogue, 2, voiced=True)) == []
    assert dialogue.floor is Floor.USER
    assert kinds(hear(dialogue, 1, voiced=False)) == [Prepare, Answer]
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
    assert kinds(hear(dialogue, 1, voiced=False)) == [Ignore]
    assert dialogue.floor is Floor.NOBODY


def test_a_pause_shorter_than_the_silence_keeps_the_turn() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    assert kinds(hear(dialogue, 0.4, voiced=False)) == [Prepare]
    assert kinds(hear(dialogue, 1, voiced=True)) == [Discard]
    assert dialogue.floor is Floor.USER


def test_a_flicker_of_voice_does_not_discard_what_is_prepared() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 0.3, voiced=False)
    assert kinds(hear(dialogue, 0.06, voiced=True)) == []
    assert kinds(hear(dialogue, 0.6, voiced=False)) == [Answer]


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


def test_a_word_over_the_answer_lowers_it_and_a_sentence_stops_it() -> None:
    dialogue = speaking()
    assert kinds(hear(dialogue, 0.2, voiced=True)) == [Lower]
    assert dialogue.floor is Floor.ASSISTANT
    assert dialogue.spoken_over
    assert hear(dialogue, 1, voiced=True).count(Yield(8_000)) == 1
    assert dialogue.floor is Floor.USER


def test_after_a_short_sound_the_answer_goes_on() -> None:
    dialogue = speaking()
    assert kinds(hear(dialogue, 0.4, voiced=True)) == [Lower]
    assert kinds(hear(dialogue, 1, voiced=False)) == [Raise, Ignore]
    assert dialogue.floor is Floor.ASSISTANT
    assert not dialogue.spoken_over


def test_what_stopped_the_answer_is_a_turn_from_its_first_sample() -> None:
    dialogue = speaking()
    actions = hear(dialogue, 1, voiced=False) + hear(dialogue, 2, voiced=True)
    feeds = [action for action in actions if isinstance(action, Feed)]
    assert feeds[0].start <= round(2.6 * 16_000)
    assert all(a.end == b.start for a, b in itertools.pairwise(feeds))
    assert kinds(hear(dialogue, 1, voiced=False)) == [Prepare, Answer]


def test_the_state_head_stops_an_answer_early_or_lets_it_go_on() -> None:
    dialogue = speaking()
    hear(dialogue, 0.2, voiced=True)
    assert dialogue.handle(StateProbabilities(0.9, 0.05, 0.05)) == [Yield(8_000)]
    dialogue = speaking()
    hear(dialogue, 0.2, voiced=True)
    assert dialogue.handle(StateProbabilities(0.1, 0.1, 0.8)) == [Raise()]
    assert kinds(hear(dialogue, 2, voiced=True)) == []
    assert kinds(hear(dialogue, 1, voiced=False)) == [Ignore]
    assert kinds(hear(dialogue, 0.2, voiced=True)) == [Lower]


def test_what_is_nothing_at_first_may_stop_the_answer_later() -> None:
    dialogue = speaking()
    hear(dialogue, 0.2, voiced=True)
    assert dialogue.handle(StateProbabilities(0.1, 0.1, 0.8)) == [Raise()]
    hear(dialogue, 0.08, voiced=True)
    assert dialogue.handle(StateProbabilities(0.9, 0.05, 0.05)) == [Yield(8_000)]
    assert dialogue.floor is Floor.USER


def test_what_is_nothing_does_not_get_the_floor_when_the_answer_ends() -> None:
    dialogue = speaking()
    hear(dialogue, 0.3, voiced=True)
    dialogue.handle(StateProbabilities(0.1, 0.1, 0.8))
    dialogue.handle(AnswerComplete(9_000))
    assert dialogue.handle(Playback(9_000)) == [EndTurn()]
    assert dialogue.floor is Floor.NOBODY


def test_a_user_who_goes_on_before_the_first_sound_is_heard_on() -> None:
    dialogue = Dialogue()
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 0.6, voiced=False)
    assert kinds(hear(dialogue, 0.2, voiced=True)) == [Resume]
    assert dialogue.floor is Floor.USER
    assert kinds(hear(dialogue, 1, voiced=False)) == [Prepare, Answer]


def test_an_answer_that_ends_under_a_voice_leaves_the_floor_to_it() -> None:
    dialogue = speaking()
    hear(dialogue, 0.3, voiced=True)
    dialogue.handle(AnswerComplete(9_000))
    assert dialogue.handle(Playback(9_000)) == [EndTurn()]
    assert dialogue.floor is Floor.USER
    assert kinds(hear(dialogue, 1, voiced=False)) == [Prepare, Answer]


def test_without_barge_in_the_answer_is_heard_to_its_end() -> None:
    dialogue = speaking(Rules(barge_in=False))
    assert hear(dialogue, 3, voiced=True) == []
    assert dialogue.floor is Floor.ASSISTANT


PROBABILITIES = st.floats(0, 1).flatmap(
    lambda ignore: st.floats(0, 1).map(
        lambda answer: StateProbabilities(
            (1 - ignore) * (1 - answer), (1 - ignore) * answer, ignore
        )
    )
)
EVENTS = st.one_of(
    st.builds(Audio, st.integers(1, 8000), st.booleans()),
    st.builds(AnswerComplete, st.integers(0, 1000)),
    st.builds(Playback, st.integers(0, 2000)),
    st.just(NothingHeard()),
    PROBABILITIES,
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_the_floor_comes_free_again(events: list[Event]) -> None:
    dialogue = Dialogue()
    for event in events:
        dialogue.handle(event)
    for _ in range(2):
        hear(dialogue, 2, voiced=False)
        dialogue.handle(AnswerComplete(100))
        dialogue.handle(Playback(100))
    assert dialogue.floor is Floor.NOBODY


AFTER: dict[type, set[type]] = {
    # what may come next of the actions that an answer's life is made of
    Prepare: {Discard, Answer},
    Discard: {Prepare, Answer, Ignore, Continue},
    Answer: {Lower, Resume, Yield, EndTurn, Ignore, Continue},
    Resume: {Prepare, Answer, Ignore, Continue},
    Lower: {Raise, Yield, EndTurn, Ignore},
    Raise: {Ignore, Yield, EndTurn},
    Yield: {Prepare, Answer, Ignore, Continue},
    Continue: {Lower, Yield, EndTurn},
    EndTurn: {Prepare, Answer, Ignore},
    Ignore: {Prepare, Answer, Lower, Yield, EndTurn, Ignore, Resume},
}


@given(st.lists(EVENTS, max_size=80))
def test_every_action_makes_sense_after_the_one_before(events: list[Event]) -> None:
    dialogue = Dialogue()
    actions = [action for event in events for action in dialogue.handle(event)]
    actions += dialogue.interrupt()
    decisions = kinds(actions)
    assert all(b in AFTER[a] for a, b in itertools.pairwise(decisions))
    assert decisions[-1:] != [Prepare]
    assert dialogue.floor is Floor.NOBODY


@given(st.lists(EVENTS, max_size=80))
def test_nothing_is_fed_twice_and_nothing_unheard_is_kept(events: list[Event]) -> None:
    dialogue = Dialogue()
    fed = played = least = 0
    for event in events:
        for action in dialogue.handle(event):
            if isinstance(action, Feed):
                assert fed <= action.start < action.end
                fed = action.end
            if isinstance(action, (Answer, Continue)):
                played, least = 0, int(isinstance(action, Answer))
            if isinstance(action, Yield):
                assert least <= action.heard <= played
        if isinstance(event, Playback) and dialogue.floor is Floor.ASSISTANT:
            played = event.samples


def test_speech_over_the_answer_that_wants_an_answer_stops_it() -> None:
    """As Freeze-Omni decides: nothing but "answer" interrupts."""
    rules = Rules(interrupt=1.0, over_answer=0.5, over_voiced=1e6)
    dialogue = Dialogue(rules)
    for voiced in [True] * 20 + [False] * 40:
        dialogue.handle(Audio(FRAME, voiced))
    assert dialogue.floor is Floor.ASSISTANT
    dialogue.handle(Playback(16_000))
    for _ in range(20):
        dialogue.handle(Audio(FRAME, True))
    assert dialogue.handle(StateProbabilities(0.9, 0.1, 0.0)) == []
    assert dialogue.handle(StateProbabilities(0.3, 0.6, 0.1)) == [Yield(16_000)]
    assert dialogue.floor is Floor.USER


def test_evidence_adds_up_over_judgements_in_a_row_before_the_answer_stops() -> None:
    dialogue = speaking(Rules(interrupt=0.7, evidence=2.5, over_voiced=1e6))
    likely, nothing = StateProbabilities(0.5, 0.4, 0.1), StateProbabilities(0.2, 0.2, 0.6)
    hear(dialogue, 0.16, voiced=True)
    for judgement in (likely, nothing) * 3:  # log odds over those of 7 to 3: 1.35, and -1.25
        assert Yield not in kinds(dialogue.handle(judgement))
        hear(dialogue, 0.08, voiced=True)
    assert dialogue.handle(likely) == []
    hear(dialogue, 0.08, voiced=True)
    assert dialogue.handle(likely) == [Yield(8_000)]


def test_where_judging_takes_longer_each_judgement_counts_for_more() -> None:
    dialogue = speaking(Rules(interrupt=0.7, evidence=2.0, over_voiced=1e6))
    hear(dialogue, 0.32, voiced=True)
    assert dialogue.handle(StateProbabilities(0.5, 0.4, 0.1)) == [Yield(8_000)]


def test_one_judgement_stops_the_answer_where_it_is_sure_enough() -> None:
    dialogue = speaking(Rules(interrupt=0.7, evidence=2.0, over_voiced=1e6))
    hear(dialogue, 0.16, voiced=True)
    assert dialogue.handle(StateProbabilities(0.5, 0.48, 0.02)) == [Yield(8_000)]


def test_the_longer_the_silence_the_less_sure_an_answer_must_be() -> None:
    rules = Rules(answer=0.9, answer_falls=0.6, prepare_silence=0.2, end_silence=1.2)
    dialogue = Dialogue(rules)
    hear(dialogue, 0.6, voiced=True)
    hear(dialogue, 0.2, voiced=False)
    perhaps = StateProbabilities(0.35, 0.65, 0.0)
    assert dialogue.handle(perhaps) == []
    hear(dialogue, 0.3, voiced=False)
    assert dialogue.handle(perhaps) == []
    hear(dialogue, 0.2, voiced=False)
    assert Answer in kinds(dialogue.handle(perhaps))


def test_an_answer_that_was_stopped_for_nothing_goes_on() -> None:
    dialogue = speaking(Rules(go_on=0.6, ignore=0.9, over_voiced=1e6))
    hear(dialogue, 0.4, voiced=True)
    assert dialogue.handle(StateProbabilities(0.5, 0.4, 0.1)) == [Yield(8_000)]
    hear(dialogue, 0.6, voiced=True)
    assert Prepare in kinds(hear(dialogue, 0.3, voiced=False))
    assert dialogue.handle(StateProbabilities(0.2, 0.1, 0.7)) == [Discard(), Continue()]
    assert dialogue.floor is Floor.ASSISTANT
    assert dialogue.handle(Playback(4_000)) == []
    assert dialogue.handle(AnswerComplete(4_000)) == [EndTurn()]
    assert dialogue.floor is Floor.NOBODY


def test_a_turn_that_stopped_nothing_is_ignored_as_before() -> None:
    dialogue = Dialogue(Rules(go_on=0.6, ignore=0.9))
    hear(dialogue, 1, voiced=True)
    hear(dialogue, 0.3, voiced=False)
    assert dialogue.handle(StateProbabilities(0.2, 0.1, 0.7)) == []
    assert dialogue.handle(StateProbabilities(0.0, 0.05, 0.95)) == [Discard(), Ignore()]


def test_a_cough_that_stopped_the_answer_lets_it_go_on() -> None:
    dialogue = speaking(Rules(over_voiced=0.3))
    assert Yield in kinds(hear(dialogue, 0.5, voiced=True))
    assert Answer in kinds(hear(dialogue, 0.6, voiced=False))
    assert dialogue.handle(NothingHeard()) == [Continue()]
    assert dialogue.floor is Floor.ASSISTANT
