"""The sections on speaking: is it understood, what is each part worth, how does it sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from evals import delivery, lengthy, paper, plots, report
from evals.jobs import Item
from evals.measured import Measured
from evals.page import Plot, Row, Section, Table
from evals.plan import ABLATED, TOP_K
from evals.rates import Interval, Rate
from evals.tables import TEACHER, headings, percent, points
from evals.voice import misheard_characters, misheard_words

Measure = Callable[[Sequence[Item]], Rate]
KINDS: dict[str, Measure] = {
    "word error rate": misheard_words,
    "character error rate": misheard_characters,
}


def voice(measured: Measured) -> Section:
    """Errors of the judge beside the teacher's, and the paper's ablation."""
    tables = [_understood(measured), *(_ablation(measured, kind) for kind in KINDS)]
    return Section(
        "Voice",
        "The LLM reads each sentence as if it had written it; Whisper base writes down what it "
        "hears. The teacher is the voice that the speech decoder learnt from, saying the same "
        "sentences to the same judge. The ablation is the paper's: each code is drawn from so many "
        f"of the likeliest (top-k), on the first {ABLATED} sentences.",
        tables,
        [_plot(measured)],
    )


def _understood(measured: Measured) -> Table:
    taught = measured.sentences(None)
    rows: list[Row] = []
    for setup in (*measured.plan.setups, None):
        items = measured.sentences(setup)
        who, words = setup.label if setup else TEACHER, misheard_words(items)
        faultless = Rate.of((errors == 0, 1) for errors in words.parts)
        errors = [percent(measured, measure(items)) for measure in KINDS.values()]
        above = points(measured, words, misheard_words(taught)) if setup else ""
        rows.append((who, *errors, above, percent(measured, faultless), str(len(items))))
    if len(measured.plan.setups) == 2:
        first, second = (measured.sentences(setup) for setup in measured.plan.setups)
        differences = [points(measured, m(second), m(first)) for m in KINDS.values()]
        rows.append((headings(measured)[-1], *differences, "", "", ""))
    rows += [
        (f"{name} (paper, its own test sentences)", "", f"{figure} %", "", "", "")
        for name, figure in list(paper.VOICE_CHARACTER_ERRORS.items())[:1]
    ]
    columns = ("", *KINDS, "words above the teacher, points", "without an error", "sentences")
    return Table("Errors in what is understood of the voice", columns, rows)


def _ablation(measured: Measured, kind: str) -> Table:
    rows: list[Row] = []
    for setup in measured.plan.setups:
        for prefix in (True, False):
            rates = [KINDS[kind](measured.ablated(setup, top_k, prefix)) for top_k in TOP_K]
            label = f"{setup.label}, {'with' if prefix else 'without'} prefix"
            rows.append((label, *(percent(measured, rate) for rate in rates)))
        rows.append((f"{setup.label}, without pre-network", *[report.NOTHING] * len(TOP_K)))
    taught = KINDS[kind](measured.ablated(None, None, True))
    rows.append(
        (f"{TEACHER}, which has no top-k", percent(measured, taught), *[""] * (len(TOP_K) - 1))
    )
    if kind == "character error rate":
        rows += [
            (f"{name} (paper)", *(f"{figure} %" if k == paper.VOICE_TOP_K else "" for k in TOP_K))
            for name, figure in paper.VOICE_CHARACTER_ERRORS.items()
        ]
    return Table(
        f"Ablation: {kind} by top-k",
        ("", *(f"top-k {top_k}" for top_k in TOP_K)),
        rows,
        "Without its pre-network ours says nothing: in this design it is the only part that reads "
        "the text, and it decides how long each character is said. A bundle without a prefix for "
        "its LLM speaks alike in both rows.",
    )


def _plot(measured: Measured) -> Plot:
    series: dict[str, list[Interval]] = {}
    for setup in measured.plan.setups:
        for prefix in (True, False):
            series[f"{setup.label}, {'with' if prefix else 'without'} prefix"] = [
                misheard_characters(measured.ablated(setup, top_k, prefix)).interval(measured.seed)
                for top_k in TOP_K
            ]
    for name, figure in paper.VOICE_CHARACTER_ERRORS.items():
        series[f"{name} (paper)"] = [
            Interval(figure / 100 if k == paper.VOICE_TOP_K else math.nan, math.nan, math.nan)
            for k in TOP_K
        ]
    taught = misheard_characters(measured.ablated(None, None, True)).value
    return Plot(
        "ablation",
        "Character error rate of the voice by top-k, with and without prefix",
        plots.lines(
            series,
            [str(top_k) for top_k in TOP_K],
            across="top-k",
            up="character error rate, %",
            level={TEACHER: taught},
        ),
    )


def manner(measured: Measured) -> Section:
    """How it speaks: rate, clipping, silence, words left out and words said twice."""
    speakers = (*measured.plan.setups, None)
    columns = ("", *(setup.label if setup else TEACHER for setup in speakers))
    figures = [_manner(measured.sentences(setup)) for setup in speakers]
    rows = [(name, *(one[name] for one in figures)) for name in figures[0]]
    return Section(
        "How it speaks",
        "Of the same sentences. Silence is what lies 40 dB below an answer's loudest 20 ms, between"
        " its first sound and its last. What the judge did not write down was skipped, what it "
        "wrote once more than the text has it was repeated: its own mistakes are among them, as "
        "the teacher's column shows.",
        [Table("", columns, rows)],
    )


def _manner(items: Sequence[Item]) -> dict[str, str]:
    counts = [(asdict(delivery.words(item["text"], item["heard"])), item) for item in items]

    def share(part: str, whole: str) -> str:
        return report.percent(Rate.of((item[part], item[whole]) for item in items).value, 2)

    def words(part: str) -> str:
        return report.percent(Rate.of((c[part], c["wanted"]) for c, _ in counts).value, 2)

    spoken = Rate.of((len(item["text"].split()), item["spoken"] / 60) for item in items)
    slow, fast = np.quantile(spoken.each, [0.05, 0.95]) if items else (math.nan, math.nan)
    longest = [item["longest_silence"] for item in items]
    return {
        "words per minute": report.number(spoken.value, 0),
        "words per minute, 90 % of the sentences": f"{slow:.0f} to {fast:.0f}",
        "clipped samples": share("clipped", "samples"),
        "silence inside an answer": share("silent", "spoken"),
        "longest silence inside an answer, s": report.number(max(longest, default=math.nan)),
        "skipped words": words("skipped"),
        "repeated words": words("repeated"),
        "misheard words": words("misheard"),
        "added words": words("added"),
    }


def long_answers(measured: Measured) -> Section:
    """Loops, early ends, and errors of the second half against the first."""
    rows: list[Row] = []
    for setup in (*measured.plan.setups, None):
        items = measured.long_answers(setup)
        faults = [lengthy.measure(item["text"], item["heard"]) for item in items]
        first, second = lengthy.halves(items)
        rows.append(
            (
                setup.label if setup else TEACHER,
                str(len(items)),
                str(sum(fault["loops"] for fault in faults)),
                str(sum(fault["stops_early"] for fault in faults)),
                percent(measured, misheard_words(items)),
                report.percent(first.value),
                report.percent(second.value),
                points(measured, second, first),
            )
        )
    return Section(
        "Long answers",
        f"Answers of {lengthy.WORDS} words and more. One loops if five words in a row are heard "
        "more often than the text has them; it stops early if fewer than three of its last six "
        "words are among the last twelve that are heard.",
        [
            Table(
                "",
                (
                    "",
                    "answers",
                    "loop",
                    "stop early",
                    "word error rate",
                    "first half",
                    "second half",
                    "drift, points",
                ),
                rows,
            )
        ],
    )
