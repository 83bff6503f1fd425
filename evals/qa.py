"""Spoken questions, beside the same LLM reading the same questions, and their captions, as text.

The ratio of the accuracies of voice and text is edge-omni's figure; their level is the LLM's. What
the captions get when they are typed in is the cascade's accuracy with the same ears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio import files
from edge_omni.llm import Sampling
from evals import report
from evals.conditions import condition
from evals.data import Question, named, questions
from evals.jobs import Item, Job
from evals.rates import Rate
from evals.setup import ANSWERS, Setup, assistant, close, file_hash, setup
from evals.text import contains, word_error_rate

GREEDY = Sampling(temperature=0.0)
TOKENS = 48  # of each answer
ANSWERED = {
    "correct": "spoken_answer",
    "caption_correct": "caption_answer",
    "text_correct": "text_answer",
}
"""Of each question: whether it was answered correctly, and the answer that tells."""


@dataclass(frozen=True)
class Ask(Job[Question]):
    """Asks the questions of a folder by voice, then types in what was understood of each.

    Every answer is given in a conversation of its own, greedily and up to 48 tokens long. Where
    nothing was understood, or an adapter knows no words, nothing is typed in.
    """

    setup: Setup
    folder: Path
    under: str | None = None
    noise: Path | None = None
    limit: int | None = None
    half: str | None = None

    @property
    def name(self) -> str:
        return f"ask {self.setup.label}, {named(self.folder, self.half)}, {self.under or 'clean'}"

    def decided_by(self) -> Any:
        noise = file_hash(self.noise) if self.noise else None
        return [*answered_by(self.setup), self.under, noise]

    def inputs(self) -> list[Question]:
        return questions(self.folder, self.limit, self.half)

    def measure(self, one: Question) -> Item:
        sound = condition(self.under, self.noise)(files.read(one.audio))
        return {
            "file": one.audio.name,
            "question": one.question,
            "answer": one.answer,
            **heard_and_typed(self.setup, sound),
        }


@dataclass(frozen=True)
class Read(Job[Question]):
    """Gives the LLM the same questions as text."""

    setup: Setup
    folder: Path
    limit: int | None = None
    half: str | None = None

    @property
    def name(self) -> str:
        return f"read {self.setup.label}, {named(self.folder, self.half)}"

    def decided_by(self) -> Any:
        return [self.setup.parts("chat")["settings"], self.setup.llm_hash()]

    def inputs(self) -> list[Question]:
        return questions(self.folder, self.limit, self.half)

    def measure(self, one: Question) -> Item:
        answer = typed_in(self.setup, one.question)
        return {"question": one.question, "answer": one.answer, "text_answer": answer}


def answered_by(setup: Setup) -> list[Any]:
    """What decides what is understood of a question, and the answer to it."""
    return [setup.parts(*ANSWERS), setup.llm_hash()]


def heard_and_typed(setup: Setup, sound: NDArray[np.float32]) -> Item:
    """What was understood of a question, float32 [n] at 16 kHz, and the answers to it: to what was
    heard, and to the same words typed in."""
    turn = assistant(setup).ask(sound, speak=False, max_tokens=TOKENS, sampling=GREEDY)
    caption = turn.caption.strip()
    answer = typed_in(setup, caption) if caption else ""
    return {"caption": caption, "spoken_answer": turn.text, "caption_answer": answer}


def typed_in(setup: Setup, text: str) -> str:
    """The greedy answer to ``text`` in a conversation of its own."""
    return assistant(setup).ask_text(text, max_tokens=TOKENS, sampling=GREEDY).text


def typed(items: list[Item]) -> Rate:
    """How many questions are answered correctly when their captions are typed in; no rate where
    there are no captions, as of an adapter that knows no words."""
    return right(items, "caption_answer") if any(item["caption"] for item in items) else Rate()


def right(items: list[Item], answer: str) -> Rate:
    """How many of the answers (items[`answer`]) hold the reference as whole words."""
    return Rate.of((contains(item[answer], item["answer"]), 1) for item in items)


def run(
    folder: Path,
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
    under: str | None = None,
    noise: Path | None = None,
    half: str | None = None,
) -> dict[str, Any]:
    """Asks every question of `folder`/questions.tsv three times: as sound, as the caption of that
    sound, and as text.

    The sound is heard `under` a condition, if one is named; `half` asks the questions with odd or
    with even numbers only. The intervals are 95 % of what drawing the questions anew gives;
    `above_text` and `above_caption` are how much more is answered correctly by voice, in pairs.
    """
    report.check(json_path)
    condition(under, noise)
    subject = setup(bundle, llm)
    items = Ask(subject, folder, under, noise, limit, half).run()
    for item, read in zip(items, Read(subject, folder, limit, half).run(), strict=True):
        item["text_answer"] = read["text_answer"]
        for name, answer in ANSWERED.items():
            item[name] = contains(item[answer], item["answer"])
    close()

    spoken, caption, text = right(items, "spoken_answer"), typed(items), right(items, "text_answer")
    found = {
        "accuracy": spoken.interval(),
        "caption_accuracy": caption.interval(),
        "text_accuracy": text.interval(),
        "ratio": Rate(spoken.parts, text.parts).interval(),
        "above_text": spoken.above(text),
        "above_caption": spoken.above(caption),
    }
    figures: dict[str, Any] = {
        **{name: _known(one.value) for name, one in found.items()},
        "intervals": {
            name: [one.low, one.high] for name, one in found.items() if not math.isnan(one.value)
        },
        "under": under,
        "half": half,
        "wer": word_error_rate(
            [item["question"] for item in items], [item["caption"] for item in items]
        ),
        "counts": {
            "questions": len(items),
            **{name: sum(item[name] for item in items) for name in ANSWERED},
        },
        "items": items,
    }
    where = f", {under}" if under else ""
    report.show(
        f"Spoken questions: {named(folder.resolve(), half)}, {len(items)}{where}",
        {
            "answered correctly when spoken": report.percent(found["accuracy"]),
            "answered correctly when the caption is typed in": report.percent(
                found["caption_accuracy"]
            ),
            "answered correctly when read": report.percent(found["text_accuracy"]),
            "ratio of spoken to read": report.number(found["ratio"]),
            "spoken above read, points": report.number(found["above_text"], 1, 100, signed=True),
            "spoken above the caption, points": report.number(
                found["above_caption"], 1, 100, signed=True
            ),
            "word error rate of the captions": report.percent(figures["wer"]),
        },
    )
    report.save(json_path, figures)
    return figures


def _known(value: float) -> float | None:
    """A figure as JSON can hold it: nothing where nothing was measured."""
    return None if math.isnan(value) else value
