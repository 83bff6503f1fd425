"""Spoken questions, beside the same LLM reading the same questions as text.

The ratio of the two accuracies is edge-omni's figure; their level is the LLM's.
"""

from pathlib import Path
from typing import Any

from edge_omni.assistant import Assistant
from edge_omni.llm import Sampling
from evals import report
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
) -> dict[str, Any]:
    """Asks every question of `folder`/questions.tsv twice: as sound and as text.

    Each question opens a conversation of its own; answers are greedy and up to 48 tokens long. An
    answer is correct if it holds the reference as whole words.
    """
    report.check(json_path)
    asked = questions(folder, limit)
    assistant = Assistant(bundle, llm=llm)
    items = [_ask(assistant, question) for question in report.progress(asked, "Asking")]
    assistant.close()

    accuracy = sum(item["correct"] for item in items) / len(items)
    text_accuracy = sum(item["text_correct"] for item in items) / len(items)
    figures: dict[str, Any] = {
        "accuracy": accuracy,
        "text_accuracy": text_accuracy,
        "ratio": accuracy / text_accuracy if text_accuracy else None,
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
    report.show(
        f"Spoken questions: {folder.resolve().name}, {len(items)}",
        {
            "answered correctly when spoken": report.percent(accuracy),
            "answered correctly when read": report.percent(text_accuracy),
            "ratio": "-" if figures["ratio"] is None else f"{figures['ratio']:.2f}",
            "word error rate of the captions": report.percent(figures["wer"]),
        },
    )
    report.save(json_path, figures)
    return figures


def _ask(assistant: Assistant, question: Question) -> dict[str, Any]:
    assistant.reset()
    heard = assistant.ask(question.audio, speak=False, max_tokens=TOKENS, sampling=GREEDY)
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
