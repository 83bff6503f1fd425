"""All of it: a bundle, or two of them, measured as the Freeze-Omni paper does, in one report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from edge_omni.errors import EdgeOmniError, LLMError, UsageError
from evals import answers, bars, hearing, method, page, report, speaking, turns, work
from evals.data import find
from evals.measured import Measured
from evals.plan import Plan
from evals.scenes import kinds
from evals.setup import Setup, setup


def run(
    data: Path,
    out: Path,
    *,
    bundle: str | Path = "tiny",
    other: str | Path | None = None,
    llms: Sequence[Path] = (),
    limit: int | None = None,
    half: str | None = None,
    jobs: int | None = None,
    seed: int = 0,
) -> page.Report:
    """Measures what is not measured yet, and writes report.md, report.html and plots to ``out``.

    What comes of each measurement is kept in ``out``/figures: a run that was interrupted goes on,
    and one that was complete only writes the report anew.

    Args:
        data: the folder that holds what to measure on, see :func:`evals.data.find`.
        other: another bundle, to set beside the first.
        llms: other LLMs for the bundle, which are asked the questions.
        limit: only the first so many of each kind of thing.
        half: of questions, orders and recordings only those with "odd" or "even" numbers.
        jobs: processes side by side; as many as there are cores when None.
        seed: of the voice and of the intervals.

    Raises:
        EdgeOmniError: something could not be measured. The report is there and says what.
        KeyboardInterrupt: the same, since it was interrupted.
    """
    plan = _plan(data, bundle, other, llms, limit, half, seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot write to {out} ({error.strerror}). Use --out.") from error
    done = work.do(plan.jobs(), out / "figures", jobs or os.cpu_count() or 1)
    measured = Measured(plan, done.results, seed)
    made = page.Report(
        f"edge-omni: {' beside '.join(setup.label for setup in plan.setups)}",
        f"{date.today():%d %B %Y}",
        [
            bars.section(measured),
            *([answers.section(measured)] if plan.sets.questions else []),
            hearing.captions(measured),
            hearing.spread(measured),
            speaking.voice(measured),
            speaking.manner(measured),
            speaking.long_answers(measured),
            *([turns.section(measured)] if kinds(plan.sets) else []),
            method.section(measured),
        ],
        [*_failures(done, len(plan.jobs()))],
    )
    page.write(made, out)
    page.show(made, report.console)
    report.console.print(f"The report is {out / 'report.html'}, and {out / 'report.md'}.")
    if done.interrupted:
        raise KeyboardInterrupt
    if done.failures:
        raise EdgeOmniError(
            f"{len(done.failures)} of {len(plan.jobs())} measurements failed; the report says "
            "why. Run the command again to try those once more."
        )
    return made


def _failures(done: work.Done, count: int) -> Iterator[tuple[str, str]]:
    for job, reason in done.failures.items():
        yield job.name, reason
    if done.interrupted:
        left = count - len(done.results) - len(done.failures)
        yield f"{left} of {count} measurements", "interrupted. Run the command again to go on"


def _plan(
    data: Path,
    bundle: str | Path,
    other: str | Path | None,
    llms: Sequence[Path],
    limit: int | None,
    half: str | None,
    seed: int,
) -> Plan:
    setups = [setup(bundle, seed=seed)]
    if other is not None:
        setups.append(setup(other, seed=seed))
        if setups[0].label == setups[1].label:
            setups[1] = replace(setups[1], label=f"the other {setups[1].label}")
    others = [with_llm(setups[0], llm) for llm in llms]
    return Plan(tuple(setups), tuple(others), find(data), limit, half)


def with_llm(own: Setup, llm: Path) -> Setup:
    """The bundle with another LLM."""
    if not llm.is_file():
        raise LLMError(f"There is no LLM file {llm}. Check the path given with --llm.")
    return replace(own, llm=llm.resolve(), label=f"{own.label} with {llm.stem}")
