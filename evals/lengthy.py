"""Long answers: does the voice drift, loop or stop early? Texts of 150 words and more."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jiwer

from evals import report
from evals.jobs import Item
from evals.rates import Rate
from evals.setup import close, setup
from evals.text import normalise, word_error_rate
from evals.voice import SENTENCES, Speak

WORDS, COUNT = 150, 20
TITLE = "long answers"
_LAST, _PHRASE = 6, 5


def run(
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Speaks answers made of the sentences of sentences.txt and looks at their beginnings and ends.

    An answer stops early if fewer than three of its last six words are among the last twelve that
    are heard; it loops if five words in a row are heard more often than the text has them.
    """
    report.check(json_path)
    job = Speak(setup(bundle, llm), TITLE, tuple(texts(limit or COUNT)))
    items = [{**item, **measure(item["text"], item["heard"])} for item in job.run()]
    close()
    first, second = halves(items)
    figures: dict[str, Any] = {
        "wer": word_error_rate([i["text"] for i in items], [i["heard"] for i in items]),
        "first_half_wer": first.value,
        "second_half_wer": second.value,
        "counts": {
            "answers": len(items),
            "stopped_early": sum(i["stops_early"] for i in items),
            "looped": sum(i["loops"] for i in items),
        },
        "items": items,
    }
    report.show(
        f"Long answers: {len(items)} of {WORDS} words and more",
        {
            "word error rate": report.percent(figures["wer"]),
            "in the first half": report.percent(figures["first_half_wer"]),
            "in the second half": report.percent(figures["second_half_wer"]),
            "stopped early": str(figures["counts"]["stopped_early"]),
            "looped": str(figures["counts"]["looped"]),
        },
    )
    report.save(json_path, figures)
    return figures


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of at least 150 words, the same for the same seed."""
    sentences, dice = SENTENCES.read_text("utf-8").splitlines(), random.Random(seed)
    made = []
    for _ in range(count):
        parts: list[str] = []
        while sum(len(part.split()) for part in parts) < WORDS:
            parts.append(dice.choice([s for s in sentences if s not in parts]))
        made.append(" ".join(parts))
    return made


def measure(text: str, heard: str) -> dict[str, bool]:
    """Whether what was heard of a text stops early or loops."""
    wanted, found = normalise(text).split(), normalise(heard).split()

    def phrases(words: list[str]) -> list[tuple[str, ...]]:
        return [tuple(words[i : i + _PHRASE]) for i in range(len(words) - _PHRASE + 1)]

    said, written = phrases(found), phrases(wanted)
    return {
        "stops_early": 2 * sum(w in found[-2 * _LAST :] for w in wanted[-_LAST:]) < _LAST,
        "loops": any(said.count(p) > max(1, written.count(p)) for p in set(said)),
    }


def halves(items: Iterable[Item]) -> tuple[Rate, Rate]:
    """Word errors in the first half of each text and in the second."""
    counted = [_errors_by_half(item["text"], item["heard"]) for item in items]
    return Rate.of(first for first, _ in counted), Rate.of(second for _, second in counted)


def _errors_by_half(text: str, heard: str) -> tuple[tuple[int, int], tuple[int, int]]:
    aligned = jiwer.process_words(normalise(text), normalise(heard))
    count = len(aligned.references[0])
    half = count // 2
    early = late = 0
    for part in aligned.alignments[0]:
        start, end = part.ref_start_idx, part.ref_end_idx
        if part.type == "insert":
            added = part.hyp_end_idx - part.hyp_start_idx
            early, late = (early + added, late) if start < half else (early, late + added)
        elif part.type != "equal":
            early += max(0, min(end, half) - start)
            late += max(0, end - max(start, half))
    return (early, half), (late, count - half)
