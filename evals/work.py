"""Does jobs side by side, each in one thread of a process of its own, and keeps what came out.

A job whose result is kept already is not done again. So a run that was interrupted goes on where it
was, and a report made anew costs nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from tqdm import tqdm

from evals import report
from evals.jobs import Item, Job, keep, kept, load

AnyJob = Job[Any]
# What a process tells: a job's name, how many of its inputs are done, and how many there are.
_Told = tuple[str, int, int]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "EDGE_OMNI_THREADS": "1"}
_REFRESH = 0.3  # s
_ENDED = (
    "its process, or one beside it, was ended from outside, as happens when memory runs out. "
    "Run again with fewer --jobs"
)


@dataclass
class Done:
    """What came of jobs.

    Attributes:
        results: of each job that has one.
        failures: what went wrong with the others.
        new: the jobs that were done now, not before.
        interrupted: whether Ctrl-C left some of them undone.
    """

    results: dict[AnyJob, list[Item]] = field(default_factory=dict)
    failures: dict[AnyJob, str] = field(default_factory=dict)
    new: list[AnyJob] = field(default_factory=list)
    interrupted: bool = False


def do(jobs: Sequence[AnyJob], folder: Path, processes: int) -> Done:
    """Does the jobs whose results are not in ``folder`` yet, ``processes`` of them at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    done, known = Done(), kept(folder)
    waiting: dict[str, list[AnyJob]] = {}
    for job in jobs:
        if job.identity in known:
            done.results[job] = load(known[job.identity])
        else:
            # Two bundles with the same ears hear the same.
            waiting.setdefault(job.identity, []).append(job)
    # Read when a process starts. This one has nothing to compute meanwhile.
    os.environ.update(_ONE_THREAD)
    # Ended otherwise than by Ctrl-C, too, this process takes the others along.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _View(len(jobs), len(done.results)) as view:
            while waiting and not done.interrupted:
                _session(waiting, folder, processes, done, view)
    finally:
        signal.signal(signal.SIGTERM, before)
    return done


def _session(
    waiting: dict[str, list[AnyJob]], folder: Path, processes: int, done: Done, view: _View
) -> None:
    """Works until nothing is waiting, or until a process dies and takes its neighbours along."""
    context = multiprocessing.get_context("spawn")
    told: SimpleQueue[_Told] = context.SimpleQueue()
    count = min(processes, len(waiting))
    with ProcessPoolExecutor(count, context, _begin, (told,)) as pool:
        futures = {pool.submit(_do, same[0], folder): same for same in waiting.values()}
        left = set(futures)
        broken: list[list[AnyJob]] = []
        try:
            while left:
                ready, left = wait(left, _REFRESH, FIRST_COMPLETED)
                view.hear(told)
                for future in ready:
                    same = futures[future]
                    if isinstance(future.exception(), BrokenProcessPool):
                        broken.append(same)
                    else:
                        _settle(waiting.pop(same[0].identity), folder, future.result(), done, view)
        except KeyboardInterrupt:
            done.interrupted = True
            for process in multiprocessing.active_children():
                process.terminate()
            return
    # One of those under way has ended its process: which of them, nobody can tell.
    for same in [same for same in broken if same[0].name in view.under_way] or broken[:1]:
        _settle(waiting.pop(same[0].identity), folder, _ENDED, done, view)


def _settle(
    same: Sequence[AnyJob], folder: Path, failure: str | None, done: Done, view: _View
) -> None:
    for job in same:
        if failure is None:
            done.results[job] = load(folder / same[0].file_name)
        else:
            done.failures[job] = failure
        view.finish(job.name, failure)
    if failure is None:
        done.new.append(same[0])


# In the processes


_told: SimpleQueue[_Told] | None = None


def _begin(told: SimpleQueue[_Told]) -> None:
    global _told
    _told = told
    # Ctrl-C reaches all processes of a terminal; the one that is watched ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its own lock is one between processes, which is left behind when this one is ended.
    tqdm.set_lock(threading.RLock())


def _do(job: AnyJob, folder: Path) -> str | None:
    """Does a job and keeps its result in ``folder``; what went wrong, if anything did."""
    assert _told is not None
    try:
        inputs = job.inputs()
        items = []
        for count, one in enumerate(inputs):
            _told.put((job.name, count, len(inputs)))
            items.append(job.measure(one))
        keep(folder / job.file_name, items)
    except Exception as error:  # noqa: BLE001 (whatever stops one job, the others go on)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{error or type(error).__name__} ({Path(place.filename).name}:{place.lineno})"
    return None


# What is to be seen meanwhile


class _View:
    """A bar for all jobs, and one for each that is under way."""

    def __init__(self, total: int, finished: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=report.console,
            transient=True,
        )
        self._all = self._progress.add_task("measurements", total=total, completed=finished)
        self.under_way: dict[str, TaskID] = {}

    def __enter__(self) -> _View:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def hear(self, told: SimpleQueue[_Told]) -> None:
        """Take in what the processes tell."""
        while not told.empty():
            name, count, total = told.get()
            if name not in self.under_way:
                self.under_way[name] = self._progress.add_task(f"  {name}", total=total)
            self._progress.update(self.under_way[name], completed=count)

    def finish(self, name: str, failure: str | None) -> None:
        """A job is done, or has failed."""
        if name in self.under_way:
            self._progress.remove_task(self.under_way.pop(name))
        self._progress.advance(self._all)
        if failure:
            report.console.print(f"failed: {name}: {failure}", markup=False)
        elif not report.console.is_terminal:
            report.console.print(f"done: {name}", markup=False)
