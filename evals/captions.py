"""What was understood: word error rate of the captions, or the share of phrases found.

With questions.tsv the questions are the reference; with slots.tsv the phrases of each recording
are looked for; a folder of bare recordings is compared with Whisper base, which hears each of
them whole.
"""

from pathlib import Path
from typing import Any

from edge_omni.assistant import Assistant
from edge_omni.audio import files
from evals import report
from evals.conditions import Condition, condition
from evals.data import QUESTIONS, SLOTS, questions, slots, sounds
from evals.text import contains, word_error_rate


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
    """Captions every recording of `folder`, `under` a condition if one is named, and compares."""
    report.check(json_path)
    change = condition(under, noise)
    if (folder / SLOTS).is_file():
        recordings = slots(folder, limit)
        captions = _captions([item.audio for item in recordings], bundle, llm, change)
        figures = _phrases(captions, [item.phrases for item in recordings])
        rows = {"phrases found": report.percent(figures["phrases"])}
    elif (folder / QUESTIONS).is_file():
        asked = questions(folder, limit)
        captions = _captions([item.audio for item in asked], bundle, llm, change)
        figures = _errors(captions, [item.question for item in asked])
        rows = {"word error rate": report.percent(figures["wer"])}
    else:
        from evals.judge import Judge

        recordings_only = sounds(folder, limit)
        captions = _captions(recordings_only, bundle, llm, change)
        judge = Judge()
        references = [judge.listen(path) for path in report.progress(recordings_only, "Judging")]
        figures = {**_errors(captions, references), "reference": "whisper-base"}
        rows = {"word error rate against Whisper base": report.percent(figures["wer"])}
    figures["under"] = under
    where = f", {under}" if under else ""
    report.show(f"Captions: {folder.resolve().name}, {len(captions)}{where}", rows)
    report.save(json_path, figures)
    return figures


def _captions(
    recordings: list[Path], bundle: str | Path, llm: Path | None, change: Condition
) -> list[tuple[Path, str]]:
    assistant = Assistant(bundle, llm=llm)
    captions = [
        (path, assistant.hear(change(files.read(path))).strip())
        for path in report.progress(recordings, "Listening")
    ]
    assistant.close()
    return captions


def _errors(captions: list[tuple[Path, str]], references: list[str]) -> dict[str, Any]:
    items = [
        {
            "file": path.name,
            "reference": reference,
            "caption": caption,
            "wer": word_error_rate([reference], [caption]),
        }
        for (path, caption), reference in zip(captions, references, strict=True)
    ]
    wer = word_error_rate(references, [caption for _, caption in captions])
    return {"wer": wer, "counts": {"recordings": len(items)}, "items": items}


def _phrases(captions: list[tuple[Path, str]], wanted: list[tuple[str, ...]]) -> dict[str, Any]:
    items = [
        {
            "file": path.name,
            "caption": caption,
            "found": [phrase for phrase in phrases if contains(caption, phrase)],
            "missed": [phrase for phrase in phrases if not contains(caption, phrase)],
        }
        for (path, caption), phrases in zip(captions, wanted, strict=True)
    ]
    found = sum(len(item["found"]) for item in items)
    total = sum(map(len, wanted))
    counts = {"recordings": len(items), "phrases": total, "found": found}
    return {"phrases": found / total, "counts": counts, "items": items}
