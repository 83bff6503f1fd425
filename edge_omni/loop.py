"""The loop of a conversation: a device at one end, the dialogue in the middle, models at work.

Everything but the device's own callback runs here, in one thread and in small steps: the
microphone is looked after between any two steps of an answer in the making. An answer may be begun
before it is certain that the user's turn is over: its sound is then held back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_omni.adapter import Heard, Listener, joined
from edge_omni.answerer import Answerer
from edge_omni.assistant import Assistant, Prepared, Turn
from edge_omni.audio.voice_activity import FRAME, VoiceActivity
from edge_omni.conversation import Conversation
from edge_omni.dialogue import (
    RATE,
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
    Yield,
)
from edge_omni.state_head import Evidence, Loudness, above

AHEAD = 1.0
"""Seconds of an answer that wait to be played when something is said over it are enough."""
HISTORY = 2 * RATE
"""Samples of the microphone that are kept for the beginning of a turn."""
EVERY = 2
"""Frames of the microphone from one judgement of what is said over an answer to the next, where the
machine is fast enough."""
METER = 0.05
"""Seconds of the answer for each level that the observer is told."""
LOWERED = 0.25
"""Loudness of an answer that somebody speaks over, until it is known what they want."""


class Device(Protocol):
    """A microphone and a speaker: ``audio.duplex.Duplex`` or ``audio.virtual.FileDevice``.

    Attributes:
        volume: how loud the speaker plays, 0 to 1.
        linear: the samples that :meth:`read` returned last, float32 [n], the user's voice whole.
    """

    volume: float
    linear: NDArray[np.float32]

    @property
    def queued(self) -> int:
        """Samples waiting for the speaker."""

    @property
    def played(self) -> int:
        """Samples that have been heard since the device was opened."""

    @property
    def committed(self) -> int:
        """Samples that have been heard or that no :meth:`clear` can hold back any more."""

    @property
    def finished(self) -> bool:
        """Whether the microphone will never give anything but silence again."""

    def read(self, timeout: float) -> NDArray[np.float32]:
        """What the microphone heard since the last call, and nothing of the speaker: float32 [n],
        16 kHz. Waits at most ``timeout`` seconds for some."""

    def write(self, pcm: NDArray[np.float32]) -> None:
        """Queue sound for the speaker: float32 [n] at the bundle's rate."""

    def clear(self) -> None:
        """Drop what is queued."""


class Observer:
    """Told what happens in a conversation. Override what is of interest."""

    def floor(self, floor: Floor) -> None:
        """Somebody took the floor, or gave it up."""

    def level(self, level: float) -> None:
        """Root mean square of the microphone's last samples; full scale is 1."""

    def speaking(self, level: float) -> None:
        """Root mean square of the answer where it is being heard."""

    def caption(self, text: str) -> None:
        """What has been understood of the user's turn so far."""

    def answer(self, text: str) -> None:
        """The answer as far as the LLM has written it."""

    def heard(self, characters: int) -> None:
        """So many characters of the answer have been heard."""

    def turn(self, turn: Turn) -> None:
        """A turn is over."""


@dataclass
class _Making:
    """An answer in the making.

    Attributes:
        prepared: what it was begun in before the user's turn was known to be over; None since.
        held: its sound until then.
        complete: whether all of it has been made.
        levels: of its sound, one for each ``METER`` that was handed to the device.
        unmeasured: the sound behind them.
    """

    turn: Turn
    answer: Answerer
    steps: Iterator[NDArray[np.float32] | None]
    prepared: Prepared | None = None
    held: list[NDArray[np.float32]] = field(default_factory=list)
    complete: bool = False
    levels: list[float] = field(default_factory=list)
    unmeasured: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def said(self) -> bool:
        """Whether it is being said, not only prepared."""
        return self.prepared is None


class Loop:
    """A conversation through one device.

    Args:
        assistant: the models and the memory.
        device: microphone and speaker; the speaker's rate is ``assistant.sample_rate``.
        observer: told what happens.
        rules: of the dialogue; the bundle's when None.
        trace: told every event and the actions that it called for.

    Attributes:
        turns: the turns that have been answered.
    """

    def __init__(
        self,
        assistant: Assistant,
        device: Device,
        observer: Observer,
        rules: Rules | None = None,
        trace: Callable[[Event, list[Action]], None] | None = None,
    ) -> None:
        self._assistant = assistant
        self._device = device
        self._observer = observer
        self._trace = trace
        self._voice = VoiceActivity()
        self._dialogue = Dialogue(rules or assistant.bundle.manifest.dialogue)
        self._history = np.zeros(0, np.float32)
        self._now = 0
        self._making: _Making | None = None
        self._answer_from = self._played = 0
        self._unheard: list[NDArray[np.float32]] = []
        self._over: Heard | None = None
        self._aside: Conversation | None = None
        self._seen = self._unjudged = 0
        self._loudness = Loudness()
        self._user: float | None = None
        self._whole_words = 0
        self.turns: list[Turn] = []

    def run(self) -> None:
        """Converse until the device has finished and nobody has the floor.

        Whatever ends it, the memory then holds nothing that was not heard.
        """
        observed = self._dialogue.floor
        self._observer.floor(observed)
        try:
            while not (self._device.finished and self._dialogue.floor is Floor.NOBODY):
                waiting = not self._make_sound()
                if waiting:
                    self._hear()
                self._listen(self._device.read(timeout=0.05 if waiting else 0))
                self._follow_playback()
                if self._dialogue.floor is not observed:
                    observed = self._dialogue.floor
                    self._observer.floor(observed)
        finally:
            for action in self._dialogue.interrupt():
                self._do(action)

    def _listen(self, pcm: NDArray[np.float32]) -> None:
        if not len(pcm):
            return
        self._observer.level(float(np.sqrt(np.mean(pcm * pcm))))
        # Whether anybody speaks is told from sound without a trace of echo, what they say from
        # sound that has all of their voice.
        self._history = np.concatenate([self._history, self._device.linear])[-HISTORY:]
        self._now += len(pcm)
        frames = self._voice.push(pcm)
        for number, voiced in enumerate(frames, 1):
            start, self._seen = self._seen, self._seen + FRAME
            if voiced:
                self._loudness.add(self._recent(start, self._seen))
            elif not self._dialogue.voiced:
                self._loudness = Loudness()
            self._handle(Audio(FRAME, voiced))
            # What has been overtaken by newer sound is not worth judging.
            self._judge(newest=number == len(frames))

    def _recent(self, start: int, end: int) -> NDArray[np.float32]:
        """The microphone's samples [start, end), as far as they are kept."""
        first = self._now - len(self._history)
        return self._history[max(start - first, 0) : max(end - first, 0)]

    def _judge(self, newest: bool) -> None:
        """Let the state head tell what the newest frame makes of what is said."""
        if self._assistant.state_head is None:
            return
        making, dialogue = self._making, self._dialogue
        self._unjudged = self._unjudged + 1 if dialogue.spoken_over else EVERY - 1
        if not newest:
            return
        if making is not None and making.prepared is not None:
            if dialogue.silence > 0:
                prepared = making.prepared
                self._state(prepared.listener, prepared.heard, prepared.head)
        elif dialogue.spoken_over and self._unjudged >= EVERY:
            self._unjudged = 0
            listener = self._assistant.listener.fork()
            listener.finish()
            nothing = np.zeros(self._assistant.llm.width, np.float32)
            heard = nothing if self._aside is None else self._aside.heard
            self._state(listener, heard, nothing)

    def _state(
        self, listener: Listener, heard: NDArray[np.float32], head: NDArray[np.float32]
    ) -> None:
        dialogue, judge = self._dialogue, self._assistant.state_head
        assert judge is not None
        evidence = Evidence(
            listener.frames[None],
            listener.hidden[None],
            head[None],
            heard[None],
            dialogue.silence,
            dialogue.voiced,
            dialogue.spoken_over,
            above(self._loudness, self._user),
        )
        self._handle(judge(evidence))

    def _follow_playback(self) -> None:
        played = max(0, self._device.played - self._answer_from)
        if self._making is not None and self._making.said and played != self._played:
            self._played = played
            self._observer.heard(self._making.answer.heard(played))
            self._observer.speaking(self._level(self._making, played))
            self._handle(Playback(played))

    def _level(self, making: _Making, played: int) -> float:
        """How loud the answer is at its sample ``played``."""
        at = int(played / (METER * self._assistant.sample_rate))
        return making.levels[at] * self._device.volume if at < len(making.levels) else 0.0

    def _note_levels(self, making: _Making, pcm: NDArray[np.float32]) -> None:
        size = int(METER * self._assistant.sample_rate)
        making.unmeasured = np.concatenate([making.unmeasured, pcm])
        whole = len(making.unmeasured) // size
        pieces = making.unmeasured[: whole * size].reshape(whole, size)
        making.levels += np.sqrt(np.square(pieces).mean(axis=1)).tolist()
        making.unmeasured = making.unmeasured[whole * size :]

    def _make_sound(self) -> bool:
        """Go one step on with the answer; whether there was anything to do."""
        making = self._making
        if making is None or making.complete:
            return False
        ahead = self._device.queued / self._assistant.sample_rate
        if self._dialogue.spoken_over and ahead > AHEAD:
            return False  # who speaks over the answer is judged first
        pcm = next(making.steps, _END)
        if pcm is _END:
            making.complete = True
            if making.said:
                self._handle(AnswerComplete(making.answer.samples))
            return True
        if pcm is None:
            return False
        if len(pcm):
            self._play(making, pcm)
        return True

    def _play(self, making: _Making, pcm: NDArray[np.float32]) -> None:
        if making.said:
            making.turn.timeline.mark("first_pcm")
            self._device.write(pcm)
            self._note_levels(making, pcm)
        else:
            making.held.append(pcm)

    def _handle(self, event: Event) -> None:
        actions = self._dialogue.handle(event)
        if self._trace is not None:
            self._trace(event, actions)
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Feed(start, end):
                self._feed(start, end)
            case Prepare():
                self._prepare()
            case Discard():
                self._discard()
            case Answer(end_of_speech):
                self._begin_answer(end_of_speech)
            case Resume():
                self._resume()
            case Ignore():
                self._ignore()
            case Lower():
                self._device.volume = LOWERED
            case Raise():
                self._device.volume = 1.0
            case Yield(heard):
                self._yield(heard)
            case Continue():
                self._continue()
            case EndTurn():
                self._end_turn()

    # What is heard

    def _feed(self, start: int, end: int) -> None:
        self._unheard.append(self._recent(start, end))
        # The silence behind a turn can wait until its answer has been begun: it is seldom needed.
        if self._making is None or self._making.prepared is None:
            self._hear()

    def _hear(self) -> None:
        """Hear all that was fed."""
        if not self._unheard:
            return
        listener = self._assistant.listener
        before = listener.caption
        heard = listener.push(np.concatenate(self._unheard))
        self._unheard = []
        if self._making is not None and self._making.said:
            self._over = heard if self._over is None else joined([self._over, heard])
            self._read_aside(self._making, heard)
        else:
            self._assistant.conversation.hear(heard)
        if listener.caption != before:
            self._observer.caption(listener.caption)

    def _read_aside(self, making: _Making, heard: Heard) -> None:
        """Let the LLM hear what is said over the answer, in a fork that is dropped in any case."""
        judge = self._assistant.state_head
        if judge is None or not judge.reads_on:
            return
        if self._aside is None:
            self._aside = self._assistant.conversation.fork()
            if self._aside is None:
                return
            self._aside.keep_answer(making.answer.heard(self._played))
            self._aside.end_answer()
        if self._aside.make_room(self._aside.cost(heard)):
            self._aside.hear(heard)

    def _drop_aside(self) -> None:
        if self._aside is not None:
            self._assistant.conversation.drop(self._aside)
            self._aside = None

    def _ignore(self) -> None:
        self._drop_aside()
        self._unheard = []
        if self._making is None:
            self._assistant.conversation.ignore()
        self._over = None
        self._loudness = Loudness()
        self._assistant.listener.reset()

    # The answer

    def _prepare(self) -> None:
        prepared = self._assistant.prepare()
        if prepared is not None:
            self._making = self._make(prepared.turn, prepared)

    def _discard(self) -> None:
        if self._making is not None and self._making.prepared is not None:
            self._assistant.discard(self._making.prepared)
            self._making = None

    def _begin_answer(self, end_of_speech: int) -> None:
        since = (self._now - end_of_speech) / RATE
        making = self._making
        if making is not None and making.prepared is not None:
            self._assistant.accept(making.prepared)
            making.prepared, self._unheard = None, []
            making.turn.timeline.decide(since)
        else:
            self._hear()
            turn = Turn(sample_rate=self._assistant.sample_rate)
            turn.timeline.decide(since)
            if not self._assistant.finish_turn(turn):
                self._handle(NothingHeard())
                return
            making = self._making = self._make(turn)
        self._user, self._loudness = self._loudness.decibels, Loudness()
        self._observer.caption(making.turn.caption)
        self._observer.answer(making.answer.text)
        self._answer_from, self._played = self._device.committed, 0
        self._device.volume = 1.0
        for pcm in making.held:
            self._play(making, pcm)
        if making.complete:
            self._handle(AnswerComplete(making.answer.samples))

    def _make(self, turn: Turn, prepared: Prepared | None = None) -> _Making:
        def waiting() -> float:
            samples = self._device.queued if making.said else sum(map(len, making.held))
            return samples / self._assistant.sample_rate

        def tell(text: str) -> None:
            if making.said:
                self._observer.answer(text)

        conversation = None if prepared is None else prepared.conversation
        answer = self._assistant.answer(
            turn, conversation=conversation, backlog=waiting, on_text=tell
        )
        making = _Making(turn, answer, iter(answer), prepared)
        return making

    def _resume(self) -> None:
        if self._making is None:
            return
        self._device.clear()
        self._assistant.conversation.withdraw_answer()
        self._assistant.listener.resume()
        self._making = None

    def _yield(self, heard: int) -> None:
        self._drop_aside()
        self._device.clear()
        if self._making is None:
            return
        characters = self._making.answer.heard(heard)
        self._whole_words = _whole_words(self._making.answer.text, characters)
        self._making.turn.interrupted = True
        self._assistant.conversation.keep_answer(characters)
        self._end_turn(characters)

    def _continue(self) -> None:
        """Go on with the answer that was stopped, from the beginning of the word it stopped in."""
        self._over, self._unheard, self._loudness = None, [], Loudness()
        self._assistant.listener.reset()
        self._observer.caption("")
        if not self._assistant.conversation.reopen_answer(self._whole_words):
            self._assistant.conversation.ignore()
            self._handle(AnswerComplete(0))
            return
        turn = Turn(sample_rate=self._assistant.sample_rate, continued=True)
        turn.timeline.decide(0.0)
        self._making = self._make(turn)
        self._answer_from, self._played = self._device.committed, 0
        self._device.volume = 1.0

    def _end_turn(self, characters: int | None = None) -> None:
        self._drop_aside()
        self._device.volume = 1.0
        if self._making is None:
            return
        turn = self._making.turn
        turn.text = self._making.answer.text[:characters].strip()
        self._making = None
        self._assistant.conversation.end_answer()
        if self._over is None or self._dialogue.floor is not Floor.USER:
            self._assistant.listener.reset()
        else:
            self._assistant.conversation.hear(self._over)
        self._over = None
        self.turns.append(turn)
        self._observer.turn(turn)


def _whole_words(text: str, characters: int) -> int:
    """How many characters the words take that end within so many; they end before a space."""
    if text[characters : characters + 1].strip():
        return max(0, text.rfind(" ", 0, characters))
    return characters


_END = np.empty(0, np.float32)
"""Stands for the end of an answer's steps."""
