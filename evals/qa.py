"""Spoken questions, beside the same LLM reading the same questions as text.

The ratio of the two accuracies is edge-omni's figure; their level is the LLM's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_omni.audio import files
from edge_omni.llm import Sampling
from evals import report
from evals.conditions import condition
from evals.data import Question, questions
from evals.jobs import Item, Job
from evals.rates import Rate
from evals.setup import ANSWERS, Setup, assistant, close, file_hash, setup
from evals.text import contains, word_error_rate

GREEDY = Sampling(temperature=0.0)
TOKENS = 48  # of each answer


@dataclass(frozen=True)
class Ask(Job[Question]):
    """Asks the questions of a folder by voice, each in a conversation of its own.

    Answers are greedy and up to 48 tokens long.
    """

    setup: Setup
    folder: Path
    under: str | None = None
    noise: Path | None = None
    limit: int | None = None

    @property
    def name(self) -> str:
        return f"ask {self.setup.label}, {self.folder.name}, {self.under or 'clean'}"

    def decided_by(self) -> Any:
        noise = file_hash(self.noise) if self.noise else None
        return [self.setup.parts(*ANSWERS), self.setup.llm_hash(), self.under, noise]

    def inputs(self) -> list[Question]:
        return questions(self.folder, self.limit)

    def measure(self, one: Question) -> Item:
        sound = condition(self.under, self.noise)(files.read(one.audio))
        turn = assistant(self.setup).ask(sound, speak=False, max_tokens=TOKENS, sampling=GREEDY)
        return {
            "file": one.audio.name,
            "question": one.question,
            "answer": one.answer,
            "caption": turn.caption.strip(),
            "spoken_answer": turn.text,
        }


@dataclass(frozen=True)
class Read(Job[Question]):
    """Gives the LLM the same questions as text."""

    setup: Setup
    folder: Path
    limit: int | None = None

    @property
    def name(self) -> str:
        return f"read {self.setup.label}, {self.folder.name}"

    def decided_by(self) -> Any:
        return [self.setup.parts("chat")["settings"], self.setup.llm_hash()]

    def inputs(self) -> list[Question]:
        return questions(self.folder, self.limit)

    def measure(self, one: Question) -> Item:
        turn = assistant(self.setup).ask_text(one.question, max_tokens=TOKENS, sampling=GREEDY)
        return {"question": one.question, "answer": one.answer, "text_answer": turn.text}


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
) -> dict[str, Any]:
    """Asks every question of `folder`/questions.tsv twice: as sound and as text.

    The sound is heard `under` a condition, if one is named. The intervals are 95 % of what drawing
    the questions anew gives.
    """
    report.check(json_path)
    condition(under, noise)
    subject = setup(bundle, llm)
    items = Ask(subject, folder, under, noise, limit).run()
    for item, read in zip(items, Read(subject, folder, limit).run(), strict=True):
        item["text_answer"] = read["text_answer"]
        item["correct"] = contains(item["spoken_answer"], item["answer"])
        item["text_correct"] = contains(item["text_answer"], item["answer"])
    close()

    spoken, read_well = right(items, "spoken_answer"), right(items, "text_answer")
    rates = {
        "accuracy": spoken,
        "text_accuracy": read_well,
        "ratio": Rate(spoken.parts, read_well.parts),
    }
    intervals = {
        name: [interval.low, interval.high]
        for name, rate in rates.items()
        if sum(rate.wholes)
        for interval in [rate.interval()]
    }
    figures: dict[str, Any] = {
        "accuracy": spoken.value,
        "text_accuracy": read_well.value,
        "ratio": rates["ratio"].value if sum(read_well.parts) else None,
        "intervals": intervals,
        "under": under,
        "wer": word_error_rate(
            [item["question"] for item in items], [item["caption"] for item in items]
        ),
        "counts": {
            "questions": len(items),
            "correct": sum(item["correct"] for item in items),
            "text_correct": sum(item["text_correct"] for item in items),
        },
        "items": items,
    }
    where = f", {under}" if under else ""
    report.show(
        f"Spoken questions: {folder.resolve().name}, {len(items)}{where}",
        {
            "answered correctly when spoken": report.percent(spoken.interval()),
            "answered correctly when read": report.percent(read_well.interval()),
            "ratio": report.number(rates["ratio"].interval()),
            "word error rate of the captions": report.percent(figures["wer"]),
        },
    )
    report.save(json_path, figures)
    return figures
