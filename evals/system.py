"""What a system under measurement reports, and how it is measured: in a process of its own."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio import files
from edge_omni.errors import EdgeOmniError

RATE = 16_000
CORES = 2
TOKENS = 48  # of each answer


@dataclass(frozen=True)
class Task:
    """What the measuring process is told. Times are seconds on the system's monotonic clock."""

    started: float
    recordings: tuple[str, ...]
    bundle: str
    llm: str
    checkpoint: str = ""


@dataclass
class TurnFigures:
    """One question, in a conversation of its own. Times are in seconds.

    Attributes:
        file: the question's recording.
        seconds: its length.
        listening: spent on computing while the question was still being asked.
        steps: when each step of the answer happened, counted from the end of the question (the
            decision to answer; no silence timer). `first_pcm` is the first sound.
        speech: length of the answer's sound.
        speaking: from the end of the question until the whole answer was made.
        backlog: of that, how long listening was still behind.
    """

    file: str
    seconds: float
    listening: float
    steps: dict[str, float] = field(default_factory=dict)
    speech: float = 0.0
    speaking: float = 0.0
    backlog: float = 0.0


class System(Protocol):
    """A voice assistant to be measured."""

    def turn(self, name: str, pcm: NDArray[np.float32]) -> TurnFigures:
        """Answers a question, float32 [n] at 16 kHz, in a new conversation."""


def measure(load: Callable[[Task], System]) -> None:
    """Entry point of a measuring process: the task is its argument, the figures its output."""
    # Any library's threads see the same two cores, whatever the machine has.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    told = json.loads(sys.argv[1])
    task = Task(**{**told, "recordings": tuple(told["recordings"])})
    try:
        system = load(task)
        startup = time.monotonic() - task.started
        loaded = peak_memory()
        turns = list(_turns(system, [Path(path) for path in task.recordings]))
    except EdgeOmniError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    figures = {
        "startup": startup,
        "memory_loaded": loaded,
        "memory_peak": peak_memory(),
        "turns": [asdict(turn) for turn in turns],
    }
    print(json.dumps(figures))


def _turns(system: System, recordings: list[Path]) -> Iterator[TurnFigures]:
    # Not counted: the first turn pays for what libraries put off until they are used.
    system.turn(recordings[0].name, files.read(recordings[0]))
    for path in recordings:
        yield system.turn(path.name, files.read(path))


def peak_memory() -> float:
    """The most memory that this process has had resident so far, in MB."""
    # Not getrusage: its maximum is inherited from the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("the kernel does not tell the peak of resident memory")
