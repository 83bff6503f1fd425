"""The sections on hearing: captions under every condition, and their spread over speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals import paper, plots, report
from evals.data import transcripts
from evals.measured import Measured
from evals.page import Plot, Row, Section, Table
from evals.plan import CONDITIONED, CONDITIONS
from evals.rates import Interval, Rate
from evals.setup import Setup
from evals.tables import WHISPER, cells, headings, percent

MOST_SPEAKERS = 40


def captions(measured: Measured) -> Section:
    """What is heard of questions, orders and recordings, beside Whisper base and the paper."""
    sets = measured.plan.sets
    tables = [_conditions(measured, folder) for folder in sets.questions]
    if sets.recordings or sets.slots:
        tables.append(_others(measured))
    if not sets.noise:
        tables[0] = Table(
            tables[0].title, tables[0].columns, tables[0].rows,
            "Nothing was heard in noise: there is no folder `noise` with a recording of it.",
        )  # fmt: skip
    drawn = [plot for folder in sets.questions for plot in _condition_plots(measured, folder)]
    return Section(
        "Captions",
        "Word error rates, numbers and spelling normalised as Whisper's authors do. The bundle "
        f"hears sound as it comes; {WHISPER} hears each recording whole. Recordings without a "
        f"transcript are compared with what {WHISPER} reads in them: 0 is as good as it is.",
        [*tables, _paper()],
        drawn,
    )


def _conditions(measured: Measured, folder: Path) -> Table:
    rows = [
        (
            CONDITIONS[under],
            *cells(measured, lambda s, u=under: measured.question_errors(s, folder, u)),
            percent(measured, measured.question_errors(None, folder, under)),
        )
        for under in measured.plan.conditions()
    ]
    count = len(measured.files(measured.plan.setups[0], folder))
    title = (
        f"{folder.name}, word error rate: {count} questions clean and in noise at 10 dB, "
        f"{min(count, CONDITIONED)} else"
    )
    return Table(title, ("", *headings(measured), WHISPER), rows)


def _others(measured: Measured) -> Table:
    sets = measured.plan.sets
    rows = [
        (
            f"{folder.name}, word error rate against {WHISPER}",
            *cells(measured, lambda s, f=folder: measured.recording_errors(s, f)),
            "",
        )
        for folder in sets.recordings
    ]
    rows += [
        (
            f"{folder.name}, word error rate against transcripts",
            *cells(measured, lambda s, f=folder: measured.transcript_errors(s, f)),
            percent(measured, measured.transcript_errors(None, folder)),
        )
        for folder in sets.recordings
        if transcripts(folder)
    ]
    rows += [
        (
            f"{folder.name}, phrases found",
            *cells(measured, lambda s, f=folder: measured.phrases(s, f)),
            percent(measured, measured.phrases(None, folder)),
        )
        for folder in sets.slots
    ]
    return Table("Other recordings", ("", *headings(measured), WHISPER), rows)


def _paper() -> Table:
    rows = [(name, *(f"{one} %" for one in row)) for name, row in paper.WORD_ERRORS.items()]
    return Table("The paper: word error rate on LibriSpeech", ("", *paper.LIBRISPEECH), rows)


def _condition_plots(measured: Measured, folder: Path) -> list[Plot]:
    listeners = [*measured.plan.setups, None]

    def series(conditions: Sequence[str | None]) -> dict[str, list[Interval]]:
        return {
            listener.label if listener else WHISPER: [
                measured.question_errors(listener, folder, under).interval(measured.seed)
                for under in conditions
            ]
            for listener in listeners
        }

    conditions = measured.plan.conditions()
    drawn = [
        Plot(
            f"conditions-{folder.name}",
            f"Word error rate of captions by condition: {folder.name}",
            plots.dots(
                series(conditions),
                [CONDITIONS[under] for under in conditions],
                across="word error rate, %",
            ),
        )
    ]
    noisy = [under for under in conditions if under and under.startswith("noise:")]
    if noisy:
        ticks = ["clean", *(f"{under.partition(':')[2]} dB" for under in noisy)]
        drawing = plots.lines(
            series([None, *noisy]), ticks, across="speech above noise", up="word error rate, %"
        )
        title = f"Word error rate of captions against noise: {folder.name}"
        drawn.insert(0, Plot(f"noise-{folder.name}", title, drawing))
    return drawn


def spread(measured: Measured) -> Section:
    """How the figures are spread over speakers, or over recordings where no speaker is named."""
    tables, drawn = [_recordings(measured)], []
    for folder in measured.plan.sets.recordings:
        speakers = _speakers(measured, folder)
        if speakers:
            tables.append(_speaker_range(measured, folder, speakers))
        if 0 < len(speakers) <= MOST_SPEAKERS:
            tables.append(_speaker_table(measured, folder, speakers))
            drawn.append(_speaker_plot(measured, folder, speakers))
    return Section(
        "Spread",
        "Whom it understands less well. A speaker is the part of a file's name before the first "
        "dash; where names tell no speakers, each recording counts for itself.",
        tables,
        drawn,
    )


def _recordings(measured: Measured) -> Table:
    rows: list[Row] = []
    sets = measured.plan.sets
    for setup in (*measured.plan.setups, None):
        who = setup.label if setup else WHISPER
        for folder in sets.questions:
            rates = measured.question_errors(setup, folder).each
            rows.append((f"{folder.name}: word error rate, {who}", *_quantiles(rates, 0.0, 0.9)))
        for folder in sets.slots:
            rates = measured.phrases(setup, folder).each
            rows.append((f"{folder.name}: phrases found, {who}", *_quantiles(rates, 1.0, 0.1)))
        for folder in sets.recordings if setup else ():
            rates = measured.recording_errors(setup, folder).each
            rows.append((f"{folder.name}: word error rate, {who}", *_quantiles(rates, 0.0, 0.9)))
    return Table(
        "Over recordings",
        ("", "recordings", "without a fault", "median", "worst tenth begins at", "worst"),
        rows,
    )


def _quantiles(rates: list[float], perfect: float, tenth: float) -> Row:
    if not rates:
        return ("0", *[report.NOTHING] * 4)
    values = np.array(rates)
    worst = values.max() if perfect == 0 else values.min()
    shares = (np.mean(values == perfect), np.median(values), np.quantile(values, tenth), worst)
    return (str(len(rates)), *(report.percent(float(share)) for share in shares))


def _speakers(measured: Measured, folder: Path) -> dict[str, list[int]]:
    """Which recordings are whose; nobody's if names tell no speakers."""
    names = measured.files(None, folder)
    speakers: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        speakers.setdefault(name.partition("-")[0], []).append(i)
    return speakers if len(speakers) < len(names) else {}


def _of_speaker(rate: Rate, places: Sequence[int]) -> Rate:
    return Rate.of((rate.parts[i], rate.wholes[i]) for i in places) if rate.parts else rate


def _speaker_range(measured: Measured, folder: Path, speakers: dict[str, list[int]]) -> Table:
    rows: list[Row] = []
    for setup in measured.plan.setups:
        errors = measured.recording_errors(setup, folder)
        rates = [_of_speaker(errors, places).value for places in speakers.values()]
        figures = (min(rates), float(np.median(rates)), max(rates))
        rows.append((setup.label, *map(report.percent, figures)))
    title = f"{folder.name}: word error rate over {len(speakers)} speakers"
    return Table(title, ("", "best", "median", "worst"), rows)


def _by_error(
    measured: Measured, folder: Path, speakers: dict[str, list[int]]
) -> dict[str, list[int]]:
    errors = measured.recording_errors(measured.plan.setups[0], folder)
    return dict(sorted(speakers.items(), key=lambda one: _of_speaker(errors, one[1]).value))


def _speaker_table(measured: Measured, folder: Path, speakers: dict[str, list[int]]) -> Table:
    def errors(setup: Setup, places: Sequence[int]) -> Rate:
        return _of_speaker(measured.recording_errors(setup, folder), places)

    rows = [
        (speaker, str(len(places)), *cells(measured, lambda s, p=places: errors(s, p)))
        for speaker, places in _by_error(measured, folder, speakers).items()
    ]
    columns = ("speaker", "recordings", *headings(measured))
    return Table(f"{folder.name}: word error rate of each speaker", columns, rows)


def _speaker_plot(measured: Measured, folder: Path, speakers: dict[str, list[int]]) -> Plot:
    ordered = _by_error(measured, folder, speakers)
    series = {
        setup.label: [
            _of_speaker(measured.recording_errors(setup, folder), places).interval(measured.seed)
            for places in ordered.values()
        ]
        for setup in measured.plan.setups
    }
    return Plot(
        f"speakers-{folder.name}",
        f"Word error rate of each speaker: {folder.name}",
        plots.dots(series, list(ordered), across=f"word error rate against {WHISPER}, %"),
    )
