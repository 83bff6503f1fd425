"""Who has the floor: a pure state machine on the audio clock.

Events go in, actions come out. There is no thread, clock, device or model in here, so that every
behaviour can be tested in milliseconds and replayed from a recorded trace. All times are samples
of the microphone's 16 kHz clock; playback positions are samples of the answer at the speaker.

The microphone is always heard. While the assistant has the floor, a voice at the microphone is
*speech over the answer*: the answer gets quieter at its first sign and goes on or stops once it is
known what it was. Only then does the floor change hands, so that it never has two owners.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

RATE = 16_000
JUDGEMENT, SLOWEST = 0.08, 3.0
"""Seconds that a judgement of what is said over an answer stands for, and how many times as long it
may count where judging takes longer."""


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
    """What the state head makes of what is said at the microphone; the three add up to 1."""

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
class Prepare:
    """The user's turn may be over: begin its answer, unheard."""


@dataclass(frozen=True)
class Discard:
    """The user's turn goes on: forget the answer that was prepared."""


@dataclass(frozen=True)
class Answer:
    """The user's turn is over, its last voiced sample was ``end_of_speech``: answer it."""

    end_of_speech: int


@dataclass(frozen=True)
class Resume:
    """The user goes on, and nothing of the answer was heard yet: forget it, the turn is open."""


@dataclass(frozen=True)
class Ignore:
    """What was said at the microphone needs no answer: forget it."""


@dataclass(frozen=True)
class Lower:
    """Somebody speaks over the answer: play it more quietly."""


@dataclass(frozen=True)
class Raise:
    """It was nothing: play the answer as before."""


@dataclass(frozen=True)
class Yield:
    """Stop speaking; ``heard`` samples of the answer were heard, forget the rest."""

    heard: int


@dataclass(frozen=True)
class Continue:
    """What stopped the answer wanted nothing: forget it, and go on where the answer stopped."""


@dataclass(frozen=True)
class EndTurn:
    """The answer has been heard to its end."""


Action: TypeAlias = (
    Feed | Prepare | Discard | Answer | Resume | Ignore | Lower | Raise | Yield | Continue | EndTurn
)


@dataclass(frozen=True)
class Rules:
    """Thresholds of the dialogue, in seconds and probabilities.

    Attributes:
        open_window, open_voiced: speech begins when this much of the last window is voiced.
        lead_in: audio before that point that still belongs to it.
        prepare_silence: silence after which the answer is begun, unheard; it is dropped again
            when ``resume_voiced`` of voice follows.
        resume_voiced: see ``prepare_silence``.
        end_silence: silence that closes a turn.
        shortest_turn: a turn with less voice than this is ignored.
        longest_turn: a turn is closed after so long, whatever is heard.
        barge_in: whether the microphone is heard while the assistant speaks.
        over_silence: silence that ends speech over the answer, which then goes on.
        over_voiced: so much voice over the answer stops it, unless a state head takes it for
            nothing, or stopped it earlier.
        answer, ignore: state probabilities above which a turn is closed.
        answer_falls: by how much that of ``answer`` has fallen at ``end_silence``, evenly since
            ``prepare_silence``: the longer the silence, the less there is to gain by waiting.
        prepare: probability of ``answer`` above which the answer is begun, unheard.
        interrupt: probability of anything but ``ignore`` above which the answer stops.
        over_answer: probability of ``answer`` above which the answer stops.
        evidence: how far their log odds above ``interrupt`` must add up, over judgements in a row,
            before it does: a cumulative sum that starts anew when it falls below 0 (Page 1954,
            "Continuous inspection schemes"), in which a judgement counts for the time since the one
            before. A head that is asked again and again errs now and then; with 0, a single
            judgement above ``interrupt`` is enough.
        nothing: probability of ``ignore`` above which what is said over the answer is taken for
            nothing, as long as it stays there.
        go_on: probability of ``ignore`` above which what did stop an answer is taken for nothing
            in the end, and the answer goes on.
    """

    open_window: float = 0.2
    open_voiced: float = 0.12
    lead_in: float = 0.4
    prepare_silence: float = 0.2
    resume_voiced: float = 0.1
    end_silence: float = 0.6
    shortest_turn: float = 0.16
    longest_turn: float = 180.0
    barge_in: bool = True
    over_silence: float = 0.5
    over_voiced: float = 0.6
    answer: float = 0.5
    answer_falls: float = 0.0
    ignore: float = 0.5
    prepare: float = 0.3
    interrupt: float = 0.7
    over_answer: float = 1.0
    evidence: float = 0.0
    nothing: float = 0.5
    go_on: float = 0.5


@dataclass
class _Speech:
    """What somebody says at the microphone.

    Attributes:
        start: its first sample.
        last_voice: the end of its last voiced frame.
        voiced: samples of voice in it.
        judged: the sample of the last judgement, at first ``JUDGEMENT`` before it began.
        lowered: whether the answer is played more quietly for it.
        ignored: whether the state head takes it for nothing, so far.
        evidence: the log odds, so far, that it wants the floor.
        cut: whether an answer was stopped for it.
    """

    start: int
    last_voice: int
    voiced: int
    judged: int
    lowered: bool = False
    ignored: bool = False
    evidence: float = 0.0
    cut: bool = False


@dataclass
class Dialogue:
    """The state machine. ``dialogue.handle(event)`` returns the actions to carry out, in order."""

    rules: Rules = field(default_factory=Rules)
    floor: Floor = Floor.NOBODY

    def __post_init__(self) -> None:
        self._now = self._fed = 0
        self._recent: deque[Audio] = deque()
        self._speech: _Speech | None = None
        self._answered: _Speech | None = None
        self._prepared_at: int | None = None
        self._answer_length: int | None = None
        self._played = 0

    @property
    def spoken_over(self) -> bool:
        """Whether somebody speaks while the assistant has the floor."""
        return self.floor is Floor.ASSISTANT and self._speech is not None

    @property
    def silence(self) -> float:
        """Seconds since the last voice of what is said at the microphone; 0 if nothing is."""
        return 0.0 if self._speech is None else (self._now - self._speech.last_voice) / RATE

    @property
    def voiced(self) -> float:
        """Seconds of voice in what is said at the microphone."""
        return 0.0 if self._speech is None else self._speech.voiced / RATE

    def handle(self, event: Event) -> list[Action]:
        """Take one event in; the actions it calls for, in order."""
        match event:
            case Audio():
                return self._audio(event)
            case StateProbabilities() if self._speech is not None:
                return self._state(event, self._speech)
            case NothingHeard() if self.floor is Floor.ASSISTANT:
                return self._forget(self._answered)
            case AnswerComplete(samples) if self.floor is Floor.ASSISTANT:
                self._answer_length = samples
                return self._end_if_heard()
            case Playback(samples) if self.floor is Floor.ASSISTANT:
                self._played = samples
                return self._end_if_heard()
        return []

    def interrupt(self) -> list[Action]:
        """End whatever goes on, as when the user leaves: nothing unheard stays in memory."""
        floor, played, prepared = self.floor, self._played, self._prepared_at is not None
        self._release()
        if floor is Floor.ASSISTANT:
            return [Yield(played)]
        if floor is Floor.USER:
            return [Discard(), Ignore()] if prepared else [Ignore()]
        return []

    def _audio(self, event: Audio) -> list[Action]:
        start, self._now = self._now, self._now + event.samples
        if self._speech is None:
            return self._open_if_voiced(event)
        if event.voiced:
            self._speech.last_voice = self._now
            self._speech.voiced += event.samples
        self._fed = self._now
        decide = self._over if self.floor is Floor.ASSISTANT else self._turn
        return [Feed(start, self._now), *decide(self._speech)]

    def _open_if_voiced(self, event: Audio) -> list[Action]:
        if self.floor is Floor.ASSISTANT and not self.rules.barge_in:
            return []
        self._recent.append(event)
        while sum(audio.samples for audio in self._recent) > self.rules.open_window * RATE:
            self._recent.popleft()
        voiced = sum(audio.samples for audio in self._recent if audio.voiced)
        if voiced < self.rules.open_voiced * RATE:
            return []
        window = sum(audio.samples for audio in self._recent)
        self._recent.clear()
        start = max(self._fed, self._now - window - int(self.rules.lead_in * RATE))
        self._fed = self._now
        judged = self._now - round(JUDGEMENT * RATE)
        return [*self._open(_Speech(start, self._now, voiced, judged)), Feed(start, self._now)]

    def _open(self, speech: _Speech) -> list[Action]:
        """Speech begins: a turn, the rest of one, or something over the answer."""
        self._speech = speech
        if self.floor is Floor.NOBODY:
            self.floor = Floor.USER
            return []
        if self._played > 0 or self._answered is None:
            speech.lowered = True
            return [Lower()]
        self._answered.last_voice = speech.last_voice
        self._answered.voiced += speech.voiced
        self._speech, self._answered = self._answered, None
        self.floor = Floor.USER
        return [Resume()]

    def _turn(self, speech: _Speech) -> list[Action]:
        """The user has the floor, and one more piece of their turn has been heard."""
        silence = self._now - speech.last_voice
        if silence >= self.rules.end_silence * RATE:
            return self._close(speech)
        if self._now - speech.start >= self.rules.longest_turn * RATE:
            return self._answer(speech)
        if self._prepared_at is not None:
            if speech.voiced - self._prepared_at >= self.rules.resume_voiced * RATE:
                self._prepared_at = None
                return [Discard()]
        elif silence >= self.rules.prepare_silence * RATE:
            return self._prepare(speech)
        return []

    def _over(self, speech: _Speech) -> list[Action]:
        """The assistant has the floor, and one more piece of what is said over it was heard."""
        if self._now - speech.last_voice >= self.rules.over_silence * RATE:
            return self._go_on(speech)
        if speech.voiced >= self.rules.over_voiced * RATE and not speech.ignored:
            return self._give_way(speech)
        return []

    def _state(self, event: StateProbabilities, speech: _Speech) -> list[Action]:
        if self.floor is Floor.ASSISTANT:
            above = _log_odds(1 - event.ignore) - _log_odds(self.rules.interrupt)
            stands_for = (self._now - speech.judged) / (JUDGEMENT * RATE)
            speech.evidence = max(0.0, speech.evidence + min(stands_for, SLOWEST) * above)
            speech.judged = self._now
            if speech.evidence > self.rules.evidence or event.answer > self.rules.over_answer:
                return self._give_way(speech)
            speech.ignored = event.ignore > self.rules.nothing
            return self._raise(speech) if speech.ignored else []
        if event.answer > self._enough:
            return self._answer(speech)
        if event.ignore > (self.rules.go_on if speech.cut else self.rules.ignore):
            return self._forget(speech)
        return self._prepare(speech) if event.answer > self.rules.prepare else []

    @property
    def _enough(self) -> float:
        """The probability of ``answer`` that closes the turn now."""
        rules = self.rules
        longest = max(rules.end_silence - rules.prepare_silence, 1e-9)
        waited = min(1.0, max(0.0, (self.silence - rules.prepare_silence) / longest))
        return rules.answer - waited * rules.answer_falls

    def _prepare(self, speech: _Speech) -> list[Action]:
        if self._prepared_at is not None or speech.voiced < self.rules.shortest_turn * RATE:
            return []
        self._prepared_at = speech.voiced
        return [Prepare()]

    def _close(self, speech: _Speech) -> list[Action]:
        if speech.voiced >= self.rules.shortest_turn * RATE:
            return self._answer(speech)
        return self._forget(speech)

    def _answer(self, speech: _Speech) -> list[Action]:
        self.floor = Floor.ASSISTANT
        self._answered, self._speech, self._prepared_at = speech, None, None
        self._answer_length, self._played = None, 0
        self._recent.clear()
        return [Answer(speech.last_voice)]

    def _forget(self, speech: _Speech | None) -> list[Action]:
        """What was said needs no answer; if one was stopped for it, that goes on."""
        discarded = [] if self._prepared_at is None else [Discard()]
        self._release()
        if speech is None or not speech.cut:
            return [*discarded, Ignore()]
        self.floor = Floor.ASSISTANT
        self._answer_length, self._played = None, 0
        return [*discarded, Continue()]

    def _go_on(self, speech: _Speech) -> list[Action]:
        """What was said over the answer was nothing."""
        self._speech = None
        self._recent.clear()
        return [*self._raise(speech), Ignore()]

    def _raise(self, speech: _Speech) -> list[Action]:
        lowered, speech.lowered = speech.lowered, False
        return [Raise()] if lowered else []

    def _give_way(self, speech: _Speech) -> list[Action]:
        """What is said over the answer becomes a turn of the user's."""
        self.floor = Floor.USER
        speech.cut = True
        return [Yield(self._played)]

    def _end_if_heard(self) -> list[Action]:
        if self._answer_length is None or self._played < self._answer_length:
            return []
        if self._speech is None or self._speech.ignored:
            self._release()
        else:
            self.floor = Floor.USER
        return [EndTurn()]

    def _release(self) -> None:
        self.floor = Floor.NOBODY
        self._speech = self._answered = self._prepared_at = None
        self._recent.clear()


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))
