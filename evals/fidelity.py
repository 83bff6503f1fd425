"""How near the answer heard is to the answer read, on a scale that does not jump.

The LLM answers a question that is given as text, greedily. Then it hears the question, and reads
the caption typed in, and is asked at every token of that first answer what it would say next: how
far its distribution is from that of the text (Kullback-Leibler divergence, nats per token), and
whether the likeliest token is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.assistant import Assistant, Turn
from edge_omni.audio import files
from edge_omni.conversation import Conversation
from edge_omni.llm import log_probabilities
from evals import report
from evals.data import Question, named, questions
from evals.jobs import Item, Job
from evals.qa import GREEDY, TOKENS
from evals.rates import Rate
from evals.setup import ANSWERS, Setup, assistant, close, setup

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Compare(Job[Question]):
    """Gives the LLM the questions of a folder three times: as text, as sound and as the caption."""

    setup: Setup
    folder: Path
    limit: int | None = None
    half: str | None = None

    @property
    def name(self) -> str:
        return f"fidelity {self.setup.label}, {named(self.folder, self.half)}"

    def decided_by(self) -> Any:
        return [self.setup.parts(*ANSWERS), self.setup.llm_hash()]

    def inputs(self) -> list[Question]:
        return questions(self.folder, self.limit, self.half)

    def measure(self, one: Question) -> Item:
        subject = assistant(self.setup)
        answer, ended = read_answer(subject.conversation, one.question)
        count = len(answer) + ended
        as_text = scores(subject, lambda talk: talk.hear_text(one.question), answer)[:count]
        heard = scores(subject, lambda talk: _hear(subject, one.audio), answer)[:count]
        caption = subject.listener.caption
        typed = scores(subject, lambda talk: talk.hear_text(caption), answer)[:count]
        return {
            "file": one.audio.name,
            "question": one.question,
            "caption": caption,
            "tokens": count,
            "divergence": divergence(as_text, heard),
            "agreement": agreement(as_text, heard),
            "caption_divergence": divergence(as_text, typed),
            "caption_agreement": agreement(as_text, typed),
        }


def read_answer(conversation: Conversation, question: str) -> tuple[list[int], bool]:
    """The tokens of the greedy answer to a typed question, and whether it ends by itself."""
    conversation.reset()
    conversation.hear_text(question)
    count = sum(1 for _ in conversation.answer(TOKENS, GREEDY, 0))
    return conversation.answer_tokens, count < TOKENS


def scores(
    subject: Assistant, put: Callable[[Conversation], None], answer: Sequence[int]
) -> Scores:
    """Log probabilities where each token of ``answer`` is to come, and behind the last of them, in
    a conversation of its own that ``put`` gives a question: float32 [n + 1, vocabulary]."""
    subject.reset()
    put(subject.conversation)
    return log_probabilities(subject.conversation.score_answer(answer))


def _hear(subject: Assistant, audio: Path) -> None:
    subject.conversation.hear(subject.listener.push(files.read(audio)))
    subject.finish_turn(Turn())


def divergence(wanted: Scores, found: Scores) -> float:
    """Kullback-Leibler divergence of ``found`` from ``wanted``, in nats, of all rows together."""
    return float((np.exp(wanted) * (wanted - found)).sum())


def agreement(wanted: Scores, found: Scores) -> int:
    """In how many rows the likeliest token is the same."""
    return int((wanted.argmax(axis=1) == found.argmax(axis=1)).sum())


def rate(items: Sequence[Item], name: str) -> Rate:
    """One of the measures, for each token."""
    return Rate.of((item[name], item["tokens"]) for item in items)


def run(
    folder: Path,
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    half: str | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Compares the answers to the questions of `folder`/questions.tsv.

    The intervals are 95 % of what drawing the questions anew gives.
    """
    report.check(json_path)
    items = Compare(setup(bundle, llm), folder, limit, half).run()
    close()
    names = ("divergence", "agreement", "caption_divergence", "caption_agreement")
    rates = {name: rate(items, name) for name in names}
    apart = {
        f"{name}_above_caption": rates[name].above(rates[f"caption_{name}"])
        for name in ("divergence", "agreement")
    }
    intervals = {name: one.interval() for name, one in rates.items()} | apart
    report.show(
        f"Answers heard beside answers read: {folder.resolve().name}, {len(items)}",
        {
            "divergence, nats per token": report.number(intervals["divergence"], 4),
            "— of the caption typed in": report.number(intervals["caption_divergence"], 4),
            "— above it": report.number(apart["divergence_above_caption"], 5, signed=True),
            "next token alike": report.percent(intervals["agreement"]),
            "— after the caption typed in": report.percent(intervals["caption_agreement"]),
        },
    )
    figures: dict[str, Any] = {name: one.value for name, one in rates.items()}
    figures["intervals"] = {name: [one.low, one.high] for name, one in intervals.items()}
    figures["questions"] = len(items)
    figures["half"] = half
    figures["items"] = items
    report.save(json_path, figures)
    return figures
