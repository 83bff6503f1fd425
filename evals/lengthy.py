"""Long answers: does the voice drift, loop or stop early? Texts of 150 words and more."""

import random
from pathlib import Path
from typing import Any

from edge_omni.assistant import Assistant
from edge_omni.audio.resample import resample
from evals import report
from evals.judge import RATE, Judge
from evals.text import normalise, word_error_rate
from evals.voice import SENTENCES

WORDS, COUNT = 150, 20
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
    assistant, judge = Assistant(bundle, llm=llm), Judge()
    items = []
    for text in report.progress(texts(limit or COUNT), "Speaking"):
        assistant.reset()
        turn = assistant.say(text)
        heard = judge.listen(resample(turn.audio, turn.sample_rate, RATE))
        items.append({"text": text, "heard": heard, **measure(text, heard)})
    assistant.close()
    figures: dict[str, Any] = {
        "wer": word_error_rate([i["text"] for i in items], [i["heard"] for i in items]),
        "first_half_wer": sum(i["first_half_wer"] for i in items) / len(items),
        "second_half_wer": sum(i["second_half_wer"] for i in items) / len(items),
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


def measure(text: str, heard: str) -> dict[str, Any]:
    """Halves, end and repetitions of what was heard of one text."""
    wanted, found = normalise(text).split(), normalise(heard).split()
    half, cut = len(wanted) // 2, len(found) // 2

    def phrases(words: list[str]) -> list[tuple[str, ...]]:
        return [tuple(words[i : i + _PHRASE]) for i in range(len(words) - _PHRASE + 1)]

    said, written = phrases(found), phrases(wanted)
    return {
        "first_half_wer": word_error_rate([" ".join(wanted[:half])], [" ".join(found[:cut])]),
        "second_half_wer": word_error_rate([" ".join(wanted[half:])], [" ".join(found[cut:])]),
        "stops_early": 2 * sum(w in found[-2 * _LAST :] for w in wanted[-_LAST:]) < _LAST,
        "loops": any(said.count(p) > max(1, written.count(p)) for p in set(said)),
    }
