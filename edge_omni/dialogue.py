"""Who has the floor: a pure state machine on the audio clock.

Events go in, actions come out. There is no thread, clock, device or model in here, so that every
behaviour can be tested in milliseconds and replayed from a recorded trace. All times are samples
of the microphone's 16 kHz clock; playback positions are samples of the answer at the speaker.

This machine is half duplex: while the assistant has the floor, the user is not listened to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

RATE = 16_000


class Floor(Enum):
    """Who has the floor."""

    NOBODY = "waiting"
    USER = "listening"
    ASSISTANT = "speaking"


# Events


@dataclass(frozen=True)
class Audio:
    """The microphone gave ``samples`` more samples, all voiced or all not."""

    samples: int
    voiced: bool


@dataclass(frozen=True)
class StateProbabilities:
    """What the state head makes of the user's turn so far; the three add up to 1."""

    listen: float
    answer: float
    ignore: float


@dataclass(frozen=True)
class NothingHeard:
    """The turn that was to be answered holds no words."""


@dataclass(frozen=True)
class AnswerComplete:
    """The whole answer has been made; it is ``samples`` long at the speaker."""

    samples: int


@dataclass(frozen=True)
class Playback:
    """So many samples of the answer have left the speaker."""

    samples: int


Event: TypeAlias = Audio | StateProbabilities | NothingHeard | AnswerComplete | Playback

# Actions


@dataclass(frozen=True)
class Feed:
    """Give the encoder the microphone's samples [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Answer:
    """The user's turn is over, its last voiced sample was ``end_of_speech``: answer it."""

    end_of_speech: int


@dataclass(frozen=True)
class Ignore:
    """The user's turn needs no answer: forget it."""


@dataclass(frozen=True)
class Yield:
    """Stop speaking; ``heard`` samples of the answer were heard, forget the rest."""

    heard: int


@dataclass(frozen=True)
class EndTurn:
    """The answer has been heard to its end."""


Action: TypeAlias = Feed | Answer | Ignore | Yield | EndTurn


@dataclass(frozen=True)
class Rules:
    """Thresholds of the dialogue, in seconds and probabilities.

    Attributes:
        open_window, open_voiced: a turn opens when this much of the last window is voiced.
        lead_in: audio before that point that still belongs to the turn.
        end_silence: silence that closes a turn.
        shortest_turn: a turn with less voice than this is ignored.
        longest_turn: a turn is closed after so long, whatever is heard.
        answer, ignore: state probabilities above which a turn is closed.
    """

    open_window: float = 0.2
    open_voiced: float = 0.12
    lead_in: float = 0.4
    end_silence: float = 0.6
    shortest_turn: float = 0.16
    longest_turn: float = 180.0
    answer: float = 0.5
    ignore: float = 0.5


@dataclass
class Dialogue:
    """The state machine. ``dialogue.handle(event)`` returns the actions to carry out, in order."""

    rules: Rules = field(default_factory=Rules)
    floor: Floor = Floor.NOBODY

    def __post_init__(self) -> None:
        self._now = 0
        self._recent: deque[Audio] = deque()
        self._start = self._last_voice = self._voiced = 0
        self._answer_length: int | None = None
        self._played = 0

    def handle(self, event: Event) -> list[Action]:
        """Take one event in; the actions it calls for, in order."""
        match event:
            case Audio():
                return self._audio(event)
            case StateProbabilities():
                return self._state(event)
            case NothingHeard() if self.floor is Floor.ASSISTANT:
                self._release()
                return [Ignore()]
            case AnswerComplete(samples) if self.floor is Floor.ASSISTANT:
                self._answer_length = samples
                return self._end_if_heard()
            case Playback(samples) if self.floor is Floor.ASSISTANT:
                self._played = samples
                return self._end_if_heard()
        return []

    def interrupt(self) -> list[Action]:
        """End whatever goes on, as when the user leaves: nothing unheard stays in memory."""
        floor, played = self.floor, self._played
        self._release()
        if floor is Floor.ASSISTANT:
            return [Yield(played)]
        return [Ignore()] if floor is Floor.USER else []

    def _audio(self, event: Audio) -> list[Action]:
        start, self._now = self._now, self._now + event.samples
        if self.floor is Floor.NOBODY:
            return self._open_if_voiced(event)
        if self.floor is Floor.ASSISTANT:
            return []
        if event.voiced:
            self._last_voice = self._now
            self._voiced += event.samples
        actions: list[Action] = [Feed(start, self._now)]
        silence = self._now - self._last_voice
        if silence >= self.rules.end_silence * RATE:
            actions.append(self._close())
        elif self._now - self._start >= self.rules.longest_turn * RATE:
            actions.append(self._answer())
        return actions

    def _open_if_voiced(self, event: Audio) -> list[Action]:
        self._recent.append(event)
        while sum(audio.samples for audio in self._recent) > self.rules.open_window * RATE:
            self._recent.popleft()
        voiced = sum(audio.samples for audio in self._recent if audio.voiced)
        if voiced < self.rules.open_voiced * RATE:
            return []
        window = sum(audio.samples for audio in self._recent)
        self._recent.clear()
        self.floor = Floor.USER
        self._start = max(0, self._now - window - int(self.rules.lead_in * RATE))
        self._last_voice, self._voiced = self._now, voiced
        return [Feed(self._start, self._now)]

    def _state(self, event: StateProbabilities) -> list[Action]:
        if self.floor is not Floor.USER:
            return []
        if event.answer > self.rules.answer:
            return [self._answer()]
        if event.ignore > self.rules.ignore:
            self._release()
            return [Ignore()]
        return []

    def _close(self) -> Action:
        if self._voiced >= self.rules.shortest_turn * RATE:
            return self._answer()
        self._release()
        return Ignore()

    def _answer(self) -> Action:
        self.floor = Floor.ASSISTANT
        self._answer_length, self._played = None, 0
        return Answer(self._last_voice)

    def _end_if_heard(self) -> list[Action]:
        if self._answer_length is None or self._played < self._answer_length:
            return []
        self._release()
        return [EndTurn()]

    def _release(self) -> None:
        self.floor = Floor.NOBODY
        self._recent.clear()
