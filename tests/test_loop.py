"""The whole loop on real parts: a spoken question in, a spoken answer out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_omni import Assistant
from edge_omni.audio import files
from edge_omni.audio.resample import resample
from edge_omni.audio.virtual import FileDevice
from edge_omni.dialogue import Floor
from edge_omni.loop import Loop, Observer

ROOT = Path(__file__).parents[1]
QUESTION = ROOT / "samples" / "question.wav"
FOLLOW_UP = ROOT / "samples" / "follow-up.wav"


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
    assert assistant.llm.position() > 60


def test_the_first_sound_leaves_before_the_llm_has_finished(assistant: Assistant) -> None:
    events: list[str] = []

    class Order(Observer):
        def answer(self, text: str) -> None:
            events.append("token")

    class Ear(FileDevice):
        def write(self, pcm: np.ndarray) -> None:
            events.append("sound")
            super().write(pcm)

    Loop(assistant, Ear(files.read(QUESTION), assistant.sample_rate), Order()).run()
    assert "token" in events[events.index("sound") :]


def test_the_llm_hears_while_the_user_still_speaks(assistant: Assistant) -> None:
    pcm = files.read(QUESTION)
    before = assistant.llm.position()
    assistant.conversation.hear(assistant.listener.push(pcm[: len(pcm) * 3 // 4]))
    assert assistant.llm.position() > before
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
    times = list(turn.timeline.marks.values())
    assert list(turn.timeline.marks) == [
        "end_of_speech",
        "decision",
        "first_token",
        "first_text_chunk",
        "prefill",
        "first_codec_token",
        "first_pcm",
    ]
    assert times == sorted(times)
    assert turn.timeline.felt is not None
    assert turn.timeline.felt > 0.3


def test_leaving_in_mid_answer_keeps_only_what_was_heard(assistant: Assistant) -> None:
    heard_from = assistant.llm.position()

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
    assert assistant.llm.position() > heard_from
    assert assistant.ask_text("Are you still there?", max_tokens=5).text


def read_aloud(assistant: Assistant, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Different sentences in the assistant's own voice, with short pauses, and their words."""
    parts: list[np.ndarray] = []
    words: list[str] = []
    for sentence in (ROOT / "evals" / "sentences.txt").read_text().splitlines():
        spoken = assistant.say(sentence)
        pcm = resample(spoken.audio, spoken.sample_rate, 16_000)
        loud = np.flatnonzero(np.abs(pcm) > 0.02)
        parts += [pcm[loud[0] : loud[-1]], silence(0.3)]
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

    loop = Loop(assistant, FileDevice(long, assistant.sample_rate), Floors())
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
