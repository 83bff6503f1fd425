"""The LLM's memory of a talk: who said what, and what of it may still be taken back.

Turns stand in the memory in the layout of the LLM's own chat template. Words that are heard stand
in it as the tokens that the LLM's own tokenizer makes of them where they stand, as if they were
typed; where a word turns out to be another one, the memory is rewound to it. What the user did not
hear of an answer is rewound when they interrupt; the oldest turns are dropped when the memory is
full, never the system prompt.
"""

from __future__ import annotations

import codecs
import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray

from edge_omni.adapter import Heard, Words
from edge_omni.errors import LLMError
from edge_omni.llm import LLM, Sampling, log_probabilities

_USER, _ANSWER, _AGAIN = "\ue000user\ue000", "\ue000answer\ue000", "\ue000again\ue000"


@dataclass(frozen=True)
class ChatLayout:
    """The text around the turns.

    Attributes:
        opening: system prompt and the header of the first user turn.
        answer: end of a user turn and header of the answer.
        next_turn: end of an answer and header of the next user turn.
    """

    opening: str
    answer: str
    next_turn: str

    @classmethod
    def from_template(cls, template: str, system: str) -> ChatLayout:
        """Read the layout off a chat template by rendering it around marked turns."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        turns = [
            {"role": "user", "content": _USER},
            {"role": "assistant", "content": _ANSWER},
            {"role": "user", "content": _AGAIN},
        ]
        try:
            compiled = environment.from_string(template)
            try:
                text = compiled.render(
                    messages=[{"role": "system", "content": system}, *turns],
                    add_generation_prompt=True,
                )
            except jinja2.TemplateError:
                # Some LLMs know no system role: the system prompt then opens the first turn.
                turns[0]["content"] = f"{system}\n\n{_USER}"
                text = compiled.render(messages=turns, add_generation_prompt=True)
            opening, rest = text.split(_USER)
            answer, rest = rest.split(_ANSWER)
            next_turn, _ = rest.split(_AGAIN)
        except (jinja2.TemplateError, ValueError) as error:
            raise LLMError(
                f"The LLM's chat template cannot be read ({error}). "
                "Give the layout in the bundle's manifest under `chat`."
            ) from error
        return cls(opening, answer, next_turn)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


@dataclass(frozen=True)
class Token:
    """A token of the answer.

    Attributes:
        text: the characters it completes; empty while a character needs more tokens.
        hidden: the LLM's hidden state at the token, float32 [width].
    """

    text: str
    hidden: NDArray[np.float32]


class Conversation:
    """One talk with an LLM, in one sequence of its memory.

    Args:
        llm: the frozen LLM.
        layout: the text around the turns.
        prompt: learned embeddings placed before each user turn's audio, float32 [n, width].

    Attributes:
        heard: the LLM's hidden state behind what was heard last in the user's turn, float32
            [width]; zeros where nothing was.
        text: the words of the user's turn so far; empty where it is heard as embeddings.
    """

    def __init__(
        self, llm: LLM, layout: ChatLayout, *, prompt: NDArray[np.float32] | None = None
    ) -> None:
        self._llm = llm
        self._sequence = 0
        self._limit = llm.context
        self._prompt = prompt
        self._layout = layout
        self._opening = llm.header_tokens(layout.opening)
        if llm.bos is not None and self._opening[:1] != [llm.bos]:
            self._opening.insert(0, llm.bos)
        self._answer = llm.marker_tokens(layout.answer)
        self._next_turn = llm.header_tokens(layout.next_turn, opens=False)
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system prompt, and wait for a user turn."""
        for sequence in (0, 1):  # a fork too
            self._llm.rewind(0, sequence=sequence)
        self._limit = self._llm.context
        self._llm.append(self._opening, sequence=self._sequence)
        self._turns: list[int] = []
        self._closed: list[tuple[int, int]] = []
        self._closed_before: list[int] = []
        self._begin_turn()

    # Forks

    def fork(self) -> Conversation | None:
        """The same conversation in another sequence, to go on in another way.

        Memory is shared until either goes on, by at most an eighth of all there is, and until one
        of the two is dropped no old turn can be. None if there is no room for that.
        """
        share = self._llm.context // 8
        if not self.make_room(2 * share):
            return None
        other = copy.copy(self)
        other._turns, other._said = list(self._turns), list(self._said)
        other._sequence = 1 - self._sequence
        self._limit = other._limit = self.position + share
        self._llm.fork(self._sequence, other._sequence)
        return other

    def drop(self, other: Conversation) -> None:
        """This side of a fork goes on, the other one is forgotten."""
        other._rewind(0)
        self._limit = self._llm.context

    @property
    def position(self) -> int:
        """How many tokens of the LLM's memory it takes."""
        return self._llm.position(self._sequence)

    def _rewind(self, position: int) -> None:
        self._llm.rewind(position, sequence=self._sequence)

    def _begin_turn(self) -> None:
        self._turns.append(self.position)
        if self._prompt is not None:
            self._append(self._prompt)
        self._heard_from = self.position
        self.text = ""
        self._tokens: list[int] = []
        # Tokens of the answer, each with the number of characters up to its end; and tokens that
        # were said before it was interrupted and went on.
        self._said: list[tuple[int, int]] = []
        self._before: list[int] = []
        self._answer_start: int | None = None
        self._head = np.zeros(self._llm.width, np.float32)
        self.heard = self._head

    # The user's turn

    def hear(self, heard: Heard) -> None:
        """Put what was heard into the memory, in place of those of the turn's words that it
        corrects."""
        if isinstance(heard, Words):
            self._read_words(heard.text)
        elif len(heard):
            self.heard = self._append(heard)

    def cost(self, heard: Heard) -> int:
        """How many more tokens of memory :meth:`hear` would take."""
        if isinstance(heard, Words):
            return max(0, len(self._spelled(heard.text)) - len(self._tokens))
        return len(heard)

    def hear_text(self, text: str) -> None:
        """Put typed text into the user's turn, behind what is there."""
        self._read_words(self.text + text)

    def _read_words(self, text: str) -> None:
        """Let the user's turn be ``text``."""
        self._read_tokens(self._spelled(text))
        self.text = text

    def _spelled(self, text: str) -> list[int]:
        """The tokens of ``text`` as the user's turn."""
        return self._llm.continue_text(self._header, text) if text else []

    def _read_tokens(self, tokens: list[int]) -> None:
        """Let the user's turn be ``tokens``: as many as are in the memory already stay."""
        kept = _common(tokens, self._tokens)
        if kept < len(self._tokens):
            self._rewind(self._heard_from + kept)
        if kept < len(tokens):
            self.heard = self._append(tokens[kept:])
        self._tokens = tokens

    def weigh(self, texts: Sequence[str]) -> list[float]:
        """How likely the LLM finds it that the user's turn is each of some texts: log probabilities
        of the tokens in which they differ and of the next one, in nats. No text has to be read anew
        by :meth:`hear` as far as all of them agree."""
        end = self._answer[:1]
        spelled = [[*self._spelled(text), *end] for text in texts]
        first, *others = spelled
        if not others or not self.make_room(max(map(len, spelled)) - len(self._tokens)):
            return [0.0] * len(texts)
        start = min(_common(first, other) for other in others)
        same = min(_common(first[start:][::-1], other[start:][::-1]) for other in others)
        before = first[start - 1] if start else self._header_tokens[-1]
        self._read_tokens(first[:start])
        place, logs = self._heard_from + start - 1, []
        for tokens in spelled:
            self._rewind(place)
            read = tokens[start : len(tokens) - same + 1]
            logs.append(self._log_probability(before, read))
        self._rewind(place)
        self._append([before])
        return logs

    def _log_probability(self, before: int, tokens: Sequence[int]) -> float:
        """Of ``tokens`` behind ``before``, which are put into the memory."""
        scores = self._llm.scores([before, *tokens], sequence=self._sequence)[:-1]
        return float(log_probabilities(scores)[np.arange(len(tokens)), tokens].sum())

    @property
    def _header(self) -> str:
        """The text in front of the user's turn."""
        return self._layout.opening if self._opens else self._layout.next_turn

    @property
    def _header_tokens(self) -> list[int]:
        return self._opening if self._opens else self._next_turn

    @property
    def _opens(self) -> bool:
        """Whether the user's turn stands directly behind the system prompt."""
        return self._turns[-1] == len(self._opening)

    @property
    def empty(self) -> bool:
        """Whether the user's turn holds nothing yet."""
        return self.position == self._heard_from

    def ignore(self) -> None:
        """Take the user's turn back."""
        self._rewind(self._turns.pop())
        self._begin_turn()

    # The answer

    def answer(self, limit: int, sampling: Sampling, seed: int) -> Iterator[Token]:
        """Generate the answer, token by token, at most ``limit`` of them."""
        self.begin_answer()
        if self._llm.newest != self._sequence:  # it has read something else since
            self._rewind(self.position - 1)
            self._append((self._before or self._answer)[-1:])
        self._llm.begin_sampling(sampling, seed, self._before)
        sampled = (self._llm.sample() for _ in range(limit))
        yield from self._read(itertools.takewhile(lambda t: not self._llm.ends_answer(t), sampled))

    def say(self, text: str) -> Iterator[Token]:
        """Take ``text`` for the answer, token by token, as if the LLM had written it."""
        self.begin_answer()
        yield from self._read(self._llm.tokenize(text))

    @property
    def answer_tokens(self) -> list[int]:
        """The tokens of the answer so far."""
        return [token for token, _ in self._said]

    def score_answer(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Take ``tokens`` for the answer: the LLM's scores of every token where each of them is to
        come, and behind the last: float32 [n + 1, vocabulary]."""
        self.begin_answer()
        first = self._llm.logits()[None]
        return np.concatenate([first, self._llm.scores(tokens, sequence=self._sequence)])

    def begin_answer(self) -> NDArray[np.float32]:
        """End the user's turn and stand at the head of the answer, once: what then is to come is
        the LLM's answer.

        Returns:
            The LLM's hidden state there, float32 [width].
        """
        if self._answer_start is None:
            self._head = self._append(self._answer)
            self._answer_start = self.position
        return self._head

    def _read(self, tokens: Iterable[int]) -> Iterator[Token]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        characters = 0
        coming = iter(tokens)
        token = next(coming, None)
        while token is not None and self.make_room(1 + len(self._next_turn)):
            hidden = self._append([token])
            text = decoder.decode(self._llm.piece(token))
            characters += len(text)
            self._said.append((token, characters))
            # Sampled at once: until this goes on, the LLM may have read something else.
            token = next(coming, None)
            yield Token(text, hidden)

    def keep_answer(self, characters: int) -> None:
        """What was not heard was not said: forget the answer after so many characters."""
        if self._answer_start is None:
            return
        del self._said[_kept(self._said, characters) :]
        self._rewind(self._answer_start + len(self._said))

    def withdraw_answer(self) -> None:
        """Nothing of the answer was heard: the user's turn is open again."""
        if self._answer_start is None:
            return
        self._rewind(self._answer_start - len(self._answer))
        self._said, self._answer_start = [], None

    def end_answer(self) -> None:
        """Close the answer; the next user turn begins."""
        self._append(self._next_turn)
        closed, before = self._said, self._before
        self._begin_turn()
        self._closed, self._closed_before = closed, before

    def reopen_answer(self, characters: int) -> bool:
        """Take the user's turn back and go on with the answer before it, behind so many
        ``characters`` of it; whether that is still in the memory."""
        if len(self._turns) < 2:
            return False
        start = self._turns.pop() - len(self._next_turn) - len(self._closed)
        kept = self._closed[: _kept(self._closed, characters)]
        self._before = self._closed_before + [token for token, _ in kept]
        self._rewind(start + len(kept) - 1)
        self._append((self._before or self._answer)[-1:])
        self._said, self._answer_start = [], self.position
        return True

    def _append(self, items: list[int] | NDArray[np.float32]) -> NDArray[np.float32]:
        self.make_room(len(items))
        return self._llm.append(items, sequence=self._sequence)

    def make_room(self, count: int) -> bool:
        """Drop the oldest turns until ``count`` more tokens fit; whether they do now."""
        forked = self._limit < self._llm.context
        while not forked and self.position + count > self._limit and len(self._turns) > 1:
            start, end = self._turns[:2]
            self._llm.drop(start, end, sequence=self._sequence)
            gap = end - start
            self._turns = [turn - gap for turn in self._turns[1:]]
            self._heard_from -= gap
            if self._answer_start is not None:
                self._answer_start -= gap
        return self.position + count <= self._limit


def _kept(said: list[tuple[int, int]], characters: int) -> int:
    """How many tokens end within so many characters."""
    return sum(end <= characters for _, end in said)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two texts share."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))
