"""The loop of a conversation: a device at one end, the dialogue in the middle, models at work.

Everything but the device's own callback runs here, in one thread and in small steps: the
microphone is looked after between any two steps of an answer in the making.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_omni.answerer import Answerer
from edge_omni.assistant import Assistant, Turn
from edge_omni.audio.voice_activity import FRAME, VoiceActivity
from edge_omni.dialogue import (
    RATE,
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
    Yield,
)

HISTORY = 2 * RATE
"""Samples of the microphone that are kept for the beginning of a turn."""


class Device(Protocol):
    """A microphone and a speaker: ``audio.duplex.Duplex`` or ``audio.virtual.FileDevice``."""

    @property
    def queued(self) -> int:
        """Samples waiting for the speaker."""

    @property
    def played(self) -> int:
        """Samples the speaker has taken since the device was opened."""

    @property
    def finished(self) -> bool:
        """Whether the microphone will never give anything but silence again."""

    def read(self, timeout: float) -> NDArray[np.float32]:
        """What the microphone heard since the last call: float32 [n], 16 kHz. Waits at most
        ``timeout`` seconds for some."""

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

    def caption(self, text: str) -> None:
        """What has been understood of the user's turn so far."""

    def answer(self, text: str) -> None:
        """The answer as far as the LLM has written it."""

    def turn(self, turn: Turn) -> None:
        """A turn is over."""


class Loop:
    """A conversation through one device.

    Args:
        assistant: the models and the memory.
        device: microphone and speaker; the speaker's rate is ``assistant.sample_rate``.
        observer: told what happens.

    Attributes:
        turns: the turns that have been answered.
    """

    def __init__(self, assistant: Assistant, device: Device, observer: Observer) -> None:
        self._assistant = assistant
        self._device = device
        self._observer = observer
        self._voice = VoiceActivity()
        self._dialogue = Dialogue(assistant.bundle.manifest.dialogue)
        self._history = np.zeros(0, np.float32)
        self._now = 0
        self._turn = Turn()
        self._answer: Answerer | None = None
        self._steps: Iterator[NDArray[np.float32] | None] | None = None
        self._answer_from = 0
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
                self._listen(self._device.read(timeout=0.05 if waiting else 0))
                if self._answer is not None:
                    self._handle(Playback(self._device.played - self._answer_from))
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
        self._history = np.concatenate([self._history, pcm])[-HISTORY:]
        self._now += len(pcm)
        for voiced in self._voice.push(pcm):
            self._handle(Audio(FRAME, voiced))

    def _make_sound(self) -> bool:
        """Go one step on with the answer; whether there was anything to do."""
        if self._steps is None or self._answer is None:
            return False
        try:
            pcm = next(self._steps)
        except StopIteration:
            self._steps = None
            self._handle(AnswerComplete(self._answer.samples))
            return True
        if pcm is None:
            return False
        if len(pcm):
            self._device.write(pcm)
        return True

    def _handle(self, event: Event) -> None:
        for action in self._dialogue.handle(event):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Feed(start, end):
                self._feed(start, end)
            case Answer(end_of_speech):
                self._begin_answer(end_of_speech)
            case Ignore():
                self._assistant.conversation.ignore()
                self._assistant.listener.reset()
                self._drop_answer()
            case Yield(heard):
                self._yield(heard)
            case EndTurn():
                self._end_turn()

    def _feed(self, start: int, end: int) -> None:
        first = self._now - len(self._history)
        pcm = self._history[max(start - first, 0) : max(end - first, 0)]
        before = self._assistant.listener.caption
        self._assistant.conversation.hear(self._assistant.listener.push(pcm))
        if self._assistant.listener.caption != before:
            self._observer.caption(self._assistant.listener.caption)

    def _begin_answer(self, end_of_speech: int) -> None:
        turn = self._turn = Turn(sample_rate=self._assistant.sample_rate)
        turn.timeline.decide((self._now - end_of_speech) / RATE)
        if not self._assistant.finish_turn(turn):
            self._handle(NothingHeard())
            return
        self._observer.caption(turn.caption)
        rate = self._assistant.sample_rate
        self._answer = self._assistant.answer(
            turn,
            backlog=lambda: self._device.queued / rate,
            on_text=self._observer.answer,
        )
        self._steps = iter(self._answer)
        self._answer_from = self._device.played

    def _yield(self, heard: int) -> None:
        self._device.clear()
        if self._answer is not None:
            characters = self._answer.heard(heard)
            self._assistant.conversation.keep_answer(characters)
            self._end_turn(characters)

    def _end_turn(self, characters: int | None = None) -> None:
        if self._answer is not None:
            self._turn.text = self._answer.text[:characters].strip()
            self._assistant.conversation.end_answer()
            self._assistant.listener.reset()
            self.turns.append(self._turn)
            self._observer.turn(self._turn)
        self._drop_answer()

    def _drop_answer(self) -> None:
        self._answer = None
        self._steps = None
