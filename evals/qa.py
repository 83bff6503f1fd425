"""Spoken questions, beside the same LLM reading the same questions as text.

The ratio of the two accuracies is edge-omni's figure; their level is the LLM's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_omni.assistant import Assistant
from edge_omni.audio import files
from edge_omni.llm import Sampling
from evals import report
from evals.conditions import Condition, condition
from evals.data import Question, questions
from evals.text import contains, word_error_rate

GREEDY = Sampling(temperature=0.0)
TOKENS = 48  # of each answer


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

    Each question opens a conversation of its own; answers are greedy and up to 48 tokens long. An
    answer is correct if it holds the reference as whole words. The sound is heard `under` a
    condition, if one is named. The intervals are 95 % of what drawing the questions anew gives.
    """
    report.check(json_path)
    change = condition(under, noise)
    asked = questions(folder, limit)
    assistant = Assistant(bundle, llm=llm)
    items = [_ask(assistant, question, change) for question in report.progress(asked, "Asking")]
    assistant.close()

    accuracy = sum(item["correct"] for item in items) / len(items)
    text_accuracy = sum(item["text_correct"] for item in items) / len(items)
    figures: dict[str, Any] = {
        "accuracy": accuracy,
        "text_accuracy": text_accuracy,
        "ratio": accuracy / text_accuracy if text_accuracy else None,
        "intervals": intervals(
            [item["correct"] for item in items], [item["text_correct"] for item in items]
        ),
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
    spans = figures["intervals"]
    where = f", {under}" if under else ""
    report.show(
        f"Spoken questions: {folder.resolve().name}, {len(items)}{where}",
        {
            "answered correctly when spoken": report.percent(accuracy) + _span(spans, "accuracy"),
            "answered correctly when read": report.percent(text_accuracy)
            + _span(spans, "text_accuracy"),
            "ratio": "-"
            if not text_accuracy
            else f"{figures['ratio']:.2f}" + _span(spans, "ratio"),
            "word error rate of the captions": report.percent(figures["wer"]),
        },
    )
    report.save(json_path, figures)
    return figures


def _ask(assistant: Assistant, question: Question, change: Condition) -> dict[str, Any]:
    assistant.reset()
    sound = change(files.read(question.audio))
    heard = assistant.ask(sound, speak=False, max_tokens=TOKENS, sampling=GREEDY)
    assistant.reset()
    read = assistant.ask_text(question.question, max_tokens=TOKENS, sampling=GREEDY)
    return {
        "file": question.audio.name,
        "question": question.question,
        "answer": question.answer,
        "caption": heard.caption.strip(),
        "spoken_answer": heard.text,
        "text_answer": read.text,
        "correct": contains(heard.text, question.answer),
        "text_correct": contains(read.text, question.answer),
    }


def intervals(
    spoken: Sequence[bool], read: Sequence[bool], seed: int = 0
) -> dict[str, list[float]]:
    """95 % bootstrap intervals of both accuracies and of their ratio, question by question."""
    pairs = np.array([spoken, read], float)
    drawn = np.random.default_rng(seed).integers(pairs.shape[1], size=(4000, pairs.shape[1]))
    accuracy, text_accuracy = pairs[:, drawn].mean(2)
    ratio = accuracy[text_accuracy > 0] / text_accuracy[text_accuracy > 0]
    drawings = {"accuracy": accuracy, "text_accuracy": text_accuracy, "ratio": ratio}
    return {
        name: [float(np.quantile(values, share)) for share in (0.025, 0.975)]
        for name, values in drawings.items()
        if len(values)
    }


def _span(spans: Mapping[str, Sequence[float]], name: str) -> str:
    return f" ({spans[name][0]:.2f} to {spans[name][1]:.2f})"
