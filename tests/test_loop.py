"""The whole loop on real parts: a spoken question in, a spoken answer out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_omni import Assistant
from edge_omni.assistant import Turn
from edge_omni.audio import files
from edge_omni.audio.echo import FrontEnd
from edge_omni.audio.resample import resample
from edge_omni.audio.virtual import FileDevice
from edge_omni.dialogue import Action, Continue, Discard, Floor, Lower, Raise, Rules
from edge_omni.loop import Loop, Observer
from evals.room import EchoingDevice

ROOT = Path(__file__).parents[1]
QUESTION = ROOT / "samples" / "question.wav"
FOLLOW_UP = ROOT / "samples" / "follow-up.wav"
UNJUDGED = Rules(answer=1.0, ignore=1.0, interrupt=1.0)
"""Voice and silence alone decide."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[Assistant]:
    assistant = Assistant(threads=1)
    yield assistant
    assistant.close()


@pytest.fixture
def assistant(loaded: Assistant) -> Assistant:
    """The default assistant, with nothing said yet."""
    loaded.reset()
    return loaded


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(16_000 * seconds), np.float32)


def converse(
    assistant: Assistant, *parts: np.ndarray, rules: Rules | None = None
) -> tuple[list[Turn], list[Action]]:
    """A conversation with a fresh memory: its turns, and what was decided."""
    assistant.reset()
    decisions: list[Action] = []
    device = FileDevice(np.concatenate(parts), assistant.sample_rate)
    loop = Loop(assistant, device, Observer(), rules, lambda _, actions: decisions.extend(actions))
    loop.run()
    return loop.turns, decisions


def test_a_spoken_question_gets_a_spoken_answer(assistant: Assistant) -> None:
    turn = assistant.ask(QUESTION, max_tokens=30)
    assert len(turn.caption.split()) >= 3
    assert turn.text
    assert turn.audio.dtype == np.float32
    spoken = len(turn.audio) / turn.sample_rate
    assert 0.15 * len(turn.text.split()) < spoken < 1.2 * len(turn.text.split()) + 2
    assert np.abs(turn.audio).max() > 0.05


def test_two_turns_share_the_memory(assistant: Assistant) -> None:
    pcm = np.concatenate([files.read(QUESTION), silence(30), files.read(FOLLOW_UP)])
    loop = Loop(assistant, FileDevice(pcm, assistant.sample_rate), Observer())
    loop.run()
    assert len(loop.turns) == 2
    assert all(turn.caption.strip() and turn.text for turn in loop.turns)
    assert assistant.conversation.position > 60


def test_the_first_sound_is_made_before_the_llm_has_finished(assistant: Assistant) -> None:
    events: list[str] = []
    turn = Turn()
    assistant.conversation.hear(assistant.listener.push(files.read(QUESTION)))
    assert assistant.finish_turn(turn)
    for pcm in assistant.answer(turn, on_text=lambda text: events.append("token")):
        if pcm is not None and len(pcm):
            events.append("sound")
    assistant.conversation.end_answer()
    assert "token" in events[events.index("sound") :]


def test_the_answer_is_ready_when_the_decision_falls(assistant: Assistant) -> None:
    loop = Loop(assistant, FileDevice(files.read(QUESTION), assistant.sample_rate), Observer())
    loop.run()
    marks = loop.turns[0].timeline.marks
    assert marks["first_codec_token"] < 0 <= marks["first_pcm"] < 0.1


def told(assistant: Assistant, *turns: tuple[np.ndarray, Turn]) -> int:
    """Tokens of memory that these recordings and answers take when nothing else ever was there."""
    assistant.reset()
    for recording, turn in turns:
        assistant.conversation.hear(assistant.listener.push(recording))
        assistant.finish_turn(again := Turn())
        assert again.caption == turn.caption
        assert list(assistant.conversation.say(turn.text))
        assistant.conversation.end_answer()
    return assistant.conversation.position


def test_what_was_prepared_too_early_leaves_no_mark(assistant: Assistant) -> None:
    pcm = files.read(QUESTION)
    paused = np.concatenate([pcm[: len(pcm) // 2], silence(0.4), pcm[len(pcm) // 2 :]])
    (turn,), decisions = converse(assistant, paused, rules=replace(UNJUDGED, prepare_silence=0.1))
    assert Discard() in decisions
    assert 0 in (assistant.llm.position(0), assistant.llm.position(1))
    assert assistant.conversation.position == told(assistant, (paused, turn))


def test_a_voice_over_the_answer_stops_it_and_is_answered(assistant: Assistant) -> None:
    question, follow_up = files.read(QUESTION), files.read(FOLLOW_UP)
    (undisturbed,), _ = converse(assistant, question)
    (first, second), decisions = converse(assistant, question, silence(0.7), follow_up)
    assert Lower() in decisions
    assert first.interrupted
    assert not second.interrupted
    assert undisturbed.text.startswith(first.text)
    assert 0 < len(first.text) < len(undisturbed.text)
    assert "water" in second.caption


def test_only_heard_words_stay_in_the_memory(assistant: Assistant) -> None:
    question, follow_up = files.read(QUESTION), files.read(FOLLOW_UP)
    (first, second), _ = converse(assistant, question, silence(0.7), follow_up)
    position = assistant.conversation.position
    assert position == told(assistant, (question, first), (follow_up, second))


def test_a_short_sound_over_the_answer_does_not_stop_it(assistant: Assistant) -> None:
    question, sound = files.read(QUESTION), files.read(FOLLOW_UP)[9_000:14_000]
    (undisturbed,), _ = converse(assistant, question, rules=UNJUDGED)
    (turn,), decisions = converse(
        assistant, question, silence(0.7), sound, silence(9), rules=UNJUDGED
    )
    assert [action for action in decisions if action in (Lower(), Raise())] == [Lower(), Raise()]
    assert not turn.interrupted
    assert turn.text == undisturbed.text


def in_a_room(assistant: Assistant, *parts: np.ndarray) -> list[Turn]:
    """A conversation in which the microphone hears the speaker as loud as it is, and hiss."""
    assistant.reset()
    pcm = np.concatenate(parts)
    pcm += np.random.default_rng(0).normal(0, 0.0005, len(pcm)).astype(np.float32)
    loop = Loop(assistant, EchoingDevice(pcm, assistant.sample_rate, FrontEnd()), Observer())
    loop.run()
    return loop.turns


def test_its_own_voice_does_not_interrupt_it(assistant: Assistant) -> None:
    (turn,) = in_a_room(assistant, files.read(QUESTION), silence(6))
    assert not turn.interrupted


def test_a_voice_is_understood_through_the_assistants_own(assistant: Assistant) -> None:
    question, follow_up = files.read(QUESTION), files.read(FOLLOW_UP)
    first, second = in_a_room(assistant, question, silence(0.9), follow_up, silence(2))
    assert first.interrupted
    assert "often" in second.caption
    assert "water" in second.caption


def test_the_llm_hears_while_the_user_still_speaks(assistant: Assistant) -> None:
    pcm = files.read(QUESTION)
    before = assistant.conversation.position
    assistant.conversation.hear(assistant.listener.push(pcm[: len(pcm) * 3 // 4]))
    assert assistant.conversation.position > before
    assert assistant.listener.caption.strip()


def test_the_same_input_gives_the_same_answer(assistant: Assistant) -> None:
    first = assistant.ask(QUESTION, max_tokens=12)
    assistant.reset()
    second = assistant.ask(QUESTION, max_tokens=12)
    assert first.text == second.text
    assert np.array_equal(first.audio, second.audio)


def test_silence_and_noise_are_not_answered(assistant: Assistant) -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, 48_000).astype(np.float32)
    device = FileDevice(np.concatenate([silence(1), noise]), assistant.sample_rate)
    loop = Loop(assistant, device, Observer())
    loop.run()
    assert loop.turns == []


def test_every_turn_has_a_whole_timeline_in_order(assistant: Assistant) -> None:
    loop = Loop(assistant, FileDevice(files.read(QUESTION), assistant.sample_rate), Observer())
    loop.run()
    (turn,) = loop.turns
    marks = turn.timeline.marks
    steps = ["first_token", "first_text_chunk", "prefill", "first_codec_token", "first_pcm"]
    assert [name for name in marks if name in steps] == steps
    assert marks["end_of_speech"] < marks["decision"] == 0 <= marks["first_pcm"]
    assert len(marks) == len(steps) + 2
    times = list(marks.values())
    assert times == sorted(times)
    assert turn.timeline.felt is not None
    assert turn.timeline.felt > 0.3


def test_leaving_in_mid_answer_keeps_only_what_was_heard(assistant: Assistant) -> None:
    heard_from = assistant.conversation.position

    class Leaves(FileDevice):
        def read(self, timeout: float = 0) -> np.ndarray:
            if self.played > 0.7 * assistant.sample_rate:
                raise KeyboardInterrupt
            return super().read(timeout)

    loop = Loop(assistant, Leaves(files.read(QUESTION), assistant.sample_rate), Observer())
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    (turn,) = loop.turns
    assert 0 < len(turn.text) < 60
    assert assistant.conversation.position > heard_from
    assert assistant.ask_text("Are you still there?", max_tokens=5).text


def read_aloud(assistant: Assistant, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Different sentences in the assistant's own voice, with short pauses, and their words."""
    parts: list[np.ndarray] = []
    words: list[str] = []
    for sentence in (ROOT / "evals" / "sentences.txt").read_text().splitlines():
        spoken = assistant.say(sentence)
        pcm = resample(spoken.audio, spoken.sample_rate, 16_000)
        loud = np.flatnonzero(np.abs(pcm) > 0.02)
        parts += [pcm[loud[0] : loud[-1]], silence(0.15)]
        words += sentence.split()
        if sum(map(len, parts)) >= seconds * 16_000:
            break
    assistant.reset()
    return np.concatenate(parts), words


def test_two_minutes_of_speech_are_one_turn(assistant: Assistant) -> None:
    long, words = read_aloud(assistant, 120)
    floors: list[Floor] = []

    class Floors(Observer):
        def floor(self, floor: Floor) -> None:
            floors.append(floor)

    loop = Loop(assistant, FileDevice(long, assistant.sample_rate), Floors(), UNJUDGED)
    loop.run()
    assert floors.count(Floor.USER) == 1
    heard = loop.turns[0].caption.split()
    assert 0.8 * len(words) < len(heard) < 1.2 * len(words)


def test_nothing_is_written_to_disk(
    assistant: Assistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assistant.ask(QUESTION, max_tokens=4)
    assert not list(tmp_path.iterdir())


def test_the_observer_is_told_how_loud_the_answer_is(assistant: Assistant) -> None:
    levels: list[float] = []

    class Meter(Observer):
        def speaking(self, level: float) -> None:
            levels.append(level)

    device = FileDevice(np.concatenate([files.read(QUESTION), silence(1.0)]), assistant.sample_rate)
    Loop(assistant, device, Meter()).run()
    assert len(levels) > 20
    assert 0.02 < max(levels) < 1.0
    assert min(levels) < 0.02


def test_an_answer_that_was_stopped_for_nothing_is_said_to_its_end(assistant: Assistant) -> None:
    question, aside = files.read(QUESTION), files.read(FOLLOW_UP)
    (undisturbed,), _ = converse(assistant, question)
    # Everything stops it, and everything was nothing.
    rules = replace(UNJUDGED, interrupt=0.0, go_on=0.0)
    (first, rest), decisions = converse(assistant, question, silence(0.9), aside, rules=rules)
    assert Continue() in decisions
    assert (first.interrupted, rest.interrupted, rest.continued) == (True, False, True)
    assert undisturbed.text.startswith(first.text)
    begun = undisturbed.text.index(" ".join(rest.text.split()[:5]))
    assert 0 < begun <= len(first.text) + 1
    first.text = f"{undisturbed.text[:begun]}{rest.text}"
    assert assistant.conversation.position == told(assistant, (question, first))
