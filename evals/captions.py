"""What was understood: word error rate of the captions, or the share of phrases found.

With questions.tsv the questions are the reference; with slots.tsv the phrases of each recording
are looked for; a folder of bare recordings is compared with Whisper base, which hears each of
them whole, and with transcripts.tsv, where somebody wrote down what is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_omni.audio import files
from evals import report
from evals.conditions import condition
from evals.data import QUESTIONS, SLOTS, named, questions, slots, sounds, transcripts
from evals.jobs import Item, Job
from evals.rates import Rate
from evals.setup import HEARS, Setup, assistant, close, file_hash, judge, setup
from evals.text import contains, word_error_rate, word_errors


def recordings(folder: Path, limit: int | None = None, half: str | None = None) -> list[Path]:
    """The recordings of a folder of any kind, as :func:`evals.data.chosen`."""
    if (folder / QUESTIONS).is_file():
        return [item.audio for item in questions(folder, limit, half)]
    if (folder / SLOTS).is_file():
        return [item.audio for item in slots(folder, limit, half)]
    return sounds(folder, limit, half)


@dataclass(frozen=True)
class Hear(Job[Path]):
    """Captions the recordings of a folder; Whisper base does so where there is no setup."""

    setup: Setup | None
    folder: Path
    under: str | None = None
    noise: Path | None = None
    limit: int | None = None
    half: str | None = None

    @property
    def name(self) -> str:
        who = self.setup.label if self.setup else "Whisper base"
        return f"hear {who}, {named(self.folder, self.half)}, {self.under or 'clean'}"

    def decided_by(self) -> Any:
        noise = file_hash(self.noise) if self.noise else None
        who = [self.setup.parts(*HEARS), self.setup.llm_hash()] if self.setup else None
        return [who, self.under, noise]

    def inputs(self) -> list[Path]:
        return recordings(self.folder, self.limit, self.half)

    def measure(self, one: Path) -> Item:
        sound = condition(self.under, self.noise)(files.read(one))
        listen = assistant(self.setup).hear if self.setup else judge().listen
        return {"file": one.name, "caption": listen(sound).strip()}


def errors(references: Iterable[str], items: Iterable[Item]) -> Rate:
    """Word errors of captions."""
    pairs = zip(references, items, strict=True)
    return Rate.of(word_errors(reference, item["caption"]) for reference, item in pairs)


def transcript_errors(folder: Path, items: Iterable[Item]) -> Rate:
    """Word errors of the captions of those recordings whose transcripts ``folder`` holds."""
    said = transcripts(folder)
    known = [item for item in items if Path(item["file"]).stem in said]
    return errors([said[Path(item["file"]).stem] for item in known], known)


def found(wanted: Iterable[tuple[str, ...]], items: Iterable[Item]) -> Rate:
    """Phrases found in captions."""
    return Rate.of(
        (sum(contains(item["caption"], phrase) for phrase in phrases), len(phrases))
        for phrases, item in zip(wanted, items, strict=True)
    )


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
    """Captions every recording of `folder`, `under` a condition if one is named, and compares.

    `half` hears those with odd or with even numbers only.
    """
    report.check(json_path)
    condition(under, noise)
    captions = Hear(setup(bundle, llm), folder, under, noise, limit, half).run()
    close()
    if (folder / SLOTS).is_file():
        figures = _phrases(captions, [item.phrases for item in slots(folder, limit, half)])
        rows = {"phrases found": report.percent(figures["phrases"])}
    elif (folder / QUESTIONS).is_file():
        figures = _errors(captions, [item.question for item in questions(folder, limit, half)])
        rows = {"word error rate": report.percent(figures["wer"])}
    else:
        whisper = Hear(None, folder, limit=limit, half=half).run()
        figures = _errors(captions, [item["caption"] for item in whisper])
        figures["reference"] = "whisper-base"
        rows = {"word error rate against Whisper base": report.percent(figures["wer"])}
        if transcripts(folder):
            ours, theirs = (transcript_errors(folder, items) for items in (captions, whisper))
            figures |= {"wer_transcripts": ours.value, "whisper_wer_transcripts": theirs.value}
            figures["counts"]["transcripts"] = len(ours.wholes)
            rows["word error rate against transcripts"] = report.percent(ours.value)
            rows["— of Whisper base"] = report.percent(theirs.value)
    figures |= {"under": under, "half": half}
    where = f", {under}" if under else ""
    report.show(f"Captions: {named(folder.resolve(), half)}, {len(captions)}{where}", rows)
    report.save(json_path, figures)
    return figures


def _errors(captions: list[Item], references: list[str]) -> dict[str, Any]:
    items = [
        {
            **item,
            "reference": reference,
            "wer": word_error_rate([reference], [item["caption"]]),
        }
        for item, reference in zip(captions, references, strict=True)
    ]
    wer = errors(references, captions).value
    return {"wer": wer, "counts": {"recordings": len(items)}, "items": items}


def _phrases(captions: list[Item], wanted: list[tuple[str, ...]]) -> dict[str, Any]:
    items = [
        {
            **item,
            "found": [phrase for phrase in phrases if contains(item["caption"], phrase)],
            "missed": [phrase for phrase in phrases if not contains(item["caption"], phrase)],
        }
        for item, phrases in zip(captions, wanted, strict=True)
    ]
    rate = found(wanted, captions)
    counts = {"recordings": len(items), "phrases": sum(rate.wholes), "found": sum(rate.parts)}
    return {"phrases": rate.value, "counts": counts, "items": items}
