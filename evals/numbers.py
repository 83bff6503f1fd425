"""Questions with numbers in them: heard, a number should read as it would be typed.

An LLM knows what "$80" is, and what comes of "eighty dollars" may be another answer. Each question
of number_questions.txt is said by a voice that hearing was not trained on, and answered three
times: as it was heard, with its caption typed in, and as it was typed in the first place. Answers
are greedy, so that what is the same to the LLM gets the same answer, letter by letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_omni import reading
from evals import report
from evals.data import chosen
from evals.jobs import Item, Job
from evals.qa import answered_by, heard_and_typed, typed_in
from evals.setup import Setup, close, setup
from evals.strangers import strangers
from evals.text import normalise, word_error_rate

QUESTIONS = Path(__file__).with_name("number_questions.txt")


@dataclass(frozen=True)
class Spoken:
    """A question as it is typed, as it is said, and the number of the voice that says it."""

    typed: str
    said: str
    voice: int


def spoken(limit: int | None = None) -> list[Spoken]:
    """The questions, the first ``limit`` of them, said by one voice after the other."""
    lines = QUESTIONS.read_text("utf-8").splitlines()
    return chosen(
        [Spoken(typed, reading.read(typed).text, voice) for voice, typed in enumerate(lines)], limit
    )


@dataclass(frozen=True)
class AskNumbers(Job[Spoken]):
    """Asks them by voice, then types in what was understood, then what was meant."""

    setup: Setup
    limit: int | None = None

    @property
    def name(self) -> str:
        return f"ask {self.setup.label}, numbers"

    def decided_by(self) -> Any:
        return answered_by(self.setup)

    def inputs(self) -> list[Spoken]:
        return spoken(self.limit)

    def measure(self, one: Spoken) -> Item:
        sound = strangers().say(one.said, one.voice)
        return {
            "question": one.typed,
            "said": one.said,
            "voice": one.voice,
            **heard_and_typed(self.setup, sound),
            "text_answer": typed_in(self.setup, one.typed),
        }


def figures(items: list[Item]) -> dict[str, Any]:
    """What came of them, as counts but for the word error rate (``wer``).

    ``captions_right`` of the ``questions`` have a caption that says the same once numbers are
    normalised, ``captions_exact`` one that is the same letter by letter. The answer to what was
    heard is the answer to the typed question for ``same_as_question`` of those that are exact and
    ``same_where_right`` of those that are right, and to the typed caption for ``same_as_caption``
    of all.
    """
    right = [item for item in items if normalise(item["caption"]) == normalise(item["question"])]
    exact = [item for item in items if item["caption"] == item["question"]]
    asked, heard = ([str(item[name]) for item in items] for name in ("question", "caption"))
    return {
        "questions": len(items),
        "captions_right": len(right),
        "captions_exact": len(exact),
        "same_as_question": _same(exact, "text_answer"),
        "same_where_right": _same(right, "text_answer"),
        "same_as_caption": _same(items, "caption_answer"),
        "wer": word_error_rate(asked, heard),
    }


def _same(items: list[Item], answer: str) -> int:
    return sum(item["spoken_answer"] == item[answer] for item in items)


def run(
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Asks every question of number_questions.txt and compares captions and answers."""
    report.check(json_path)
    items = AskNumbers(setup(bundle, llm), limit).run()
    close()
    found = figures(items)
    exact, right, count = (
        found[name] for name in ("captions_exact", "captions_right", "questions")
    )
    report.show(
        f"Questions with numbers: {count}",
        {
            "captions that say the same": f"{right} of {count}",
            "captions that are the same": f"{exact} of {count}",
            "word error rate of the captions": report.percent(found["wer"]),
            "same answer as to the question, where the caption is the same": (
                f"{found['same_as_question']} of {exact}"
            ),
            "same answer as to the question, where it says the same": (
                f"{found['same_where_right']} of {right}"
            ),
            "same answer as to the caption": f"{found['same_as_caption']} of {count}",
        },
    )
    report.save(json_path, {**found, "items": items})
    return {**found, "items": items}
