"""Turn-taking: pauses, ends of turns, interruptions, backchannels, others in the room, echo.

The tasks are those of Full-Duplex-Bench v1 and v1.5 (Lin et al. 2025, arXiv:2503.04721 and
arXiv:2507.23159), on scenes made of recordings that no training has heard. Every scene runs through
the whole loop, with the speaker as loud in the microphone as the user, on a clock that computing
takes its time on and waiting does not: what is measured is as in real time, in less of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from edge_omni.assistant import Assistant
from edge_omni.audio.voice_activity import FRAME
from edge_omni.dialogue import RATE, Action, Answer, Continue, Event, Lower, Rules, Yield
from edge_omni.errors import UsageError
from edge_omni.loop import Loop, Observer
from evals import report
from evals.data import Sets, find
from evals.jobs import Item, Job
from evals.rates import Rate
from evals.room import Stage
from evals.scenes import KINDS, Materials, Scene, kinds, power, scenes
from evals.setup import CONVERSES, Setup, assistant, close, file_hash, setup

COUNT = 40
LEAD = 0.6  # seconds of silence in front of a scene
PATIENCE = 3.0  # seconds in which an answer must begin
LISTENED = 8.0  # seconds of an answer that is only listened to
AFTERWARDS = 1.0  # seconds behind what was said over an answer, in which it may still stop
ENOUGH = 0.5  # seconds of an answer, or without one, that tell what became of it
SYSTEM = "You are a helpful voice assistant. Explain everything at length, in many sentences."
"""So that there is an answer to speak over."""
WORDING = "The assistant can explain at length how this is done, and why it is done in this way."


class _Over(Exception):
    """The scene is over."""


class Play(Stage):
    """A room in which a scene happens.

    Attributes:
        begun: the second at which something was said over the answer; NaN before.
        until: the second at which the scene is over.
    """

    def __init__(self, scene: Scene, rate: int, *, echo: bool, gain: float, paced: bool) -> None:
        silence = np.zeros(round(LEAD * RATE), np.float32)
        pcm = np.concatenate([silence, scene.turn])
        super().__init__(pcm, rate, echo=echo, gain=gain, paced=paced)
        self._scene, self._ended = scene, len(pcm) / RATE
        self.until = self._ended + PATIENCE
        self.begun = math.nan

    def ticked(self) -> None:
        """What happens next."""
        if math.isnan(self.begun) and True in self.speaking:
            self._answered(self.speaking.index(True) * FRAME / RATE)
        if self.now > self.until:
            raise _Over

    def _answered(self, first: float) -> None:
        """There is an answer, since second ``first``, and nothing was said over it yet."""
        scene = self._scene
        if scene.kind == "echo":
            self.until = first + LISTENED
        elif scene.over is None:
            self.until = min(self.until, first + ENOUGH)
        elif first < self._ended:
            raise _Over  # before its time: there is nobody to interrupt it
        elif self.now >= first + scene.after:
            self.begun = self.now
            self.say(scene.over)
            rest = PATIENCE if scene.kind == "interruption" else AFTERWARDS
            self.until = self.now + len(scene.over) / RATE + rest
        else:
            self.until = self.now + ENOUGH


@dataclass
class Outcome:
    """What came of a scene; seconds, NaN for what did not happen.

    Attributes:
        right: whether it went as it should.
        decided: from the user's last sample to the decision that an answer is wanted.
        first: from the user's last sample to the first sound of the answer.
        stop: from the first sample of what was said over the answer to its last sound.
        lowered: how often the voice was lowered.
        resumed: whether an answer that was stopped went on.
        void: whether the scene could not be played, since there was no answer to speak over.
    """

    kind: str
    right: bool = False
    decided: float = math.nan
    first: float = math.nan
    stop: float = math.nan
    lowered: int = 0
    resumed: bool = False
    void: bool = False
    caption: str = ""


def play(
    assistant: Assistant,
    scene: Scene,
    *,
    rules: Rules | None = None,
    echo: bool,
    gain: float,
    paced: bool,
) -> Outcome:
    """Play one scene."""
    assistant.reset()
    stage = Play(scene, assistant.sample_rate, echo=echo, gain=gain, paced=paced)
    told: list[tuple[float, Action]] = []

    def trace(_: Event, actions: list[Action]) -> None:
        told.extend((stage.time, action) for action in actions)

    loop = Loop(assistant, stage, Observer(), rules, trace)
    with suppress(_Over):
        loop.run()
    return judge(scene, stage, told, " | ".join(turn.caption for turn in loop.turns))


def judge(scene: Scene, stage: Play, told: Sequence[tuple[float, Action]], caption: str) -> Outcome:
    """What came of a scene that was played."""
    outcome = Outcome(scene.kind, caption=caption)
    outcome.lowered = sum(isinstance(action, Lower) for _, action in told)
    sounds = [tick * FRAME / RATE for tick, loud in enumerate(stage.speaking) if loud]
    ended = LEAD + len(scene.turn) / RATE
    # The loop ends what still goes on when the scene is over: that is no decision.
    yields, answers, resumed = (
        [at for at, action in told if isinstance(action, kind) and at <= stage.until]
        for kind in (Yield, Answer, Continue)
    )
    outcome.resumed = bool(resumed)
    first = next((at for at in sounds if at >= ended), math.nan)
    early = any(at < ended for at in sounds)
    if scene.kind in ("pause", "turn"):
        outcome.right = not early and not (scene.kind == "turn" and math.isnan(first))
        if not early:
            outcome.decided = next((at for at in answers if at >= ended), math.nan) - ended
            outcome.first = first - ended
    elif scene.kind == "echo":
        outcome.void = early or not sounds  # who goes on with their turn interrupts it rightly
        outcome.right = not yields
    elif math.isnan(stage.begun):
        outcome.void = True
    elif scene.kind == "interruption":
        assert scene.over is not None
        stopped = next((at for at in yields if at >= stage.begun), math.nan)
        after = stage.begun + len(scene.over) / RATE
        answered = next((at for at in answers if at > stopped), math.nan)
        again = next((at for at in sounds if at > max(answered, after)), math.nan)
        if not math.isnan(stopped):
            outcome.stop = (
                max([at for at in sounds if at <= stopped], default=stopped) - stage.begun
            )
        outcome.decided, outcome.first = answered - after, again - after
        outcome.right = not math.isnan(again) and not resumed
    else:
        outcome.right = not yields
    return outcome


@dataclass(frozen=True)
class Converse(Job[int]):
    """Plays the scenes of a kind, by their numbers. The setup's system prompt is ``SYSTEM``."""

    setup: Setup
    sets: Sets
    kind: str
    limit: int | None = None
    echo: bool = True
    paced: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.setup.label}"

    def decided_by(self) -> Any:
        found = self.sets
        folders = [*found.questions, *found.slots, *found.recordings]
        sounds = [path for folder in folders for path in sorted(folder.iterdir())]
        sounds += [found.noise] if found.noise else []
        return [
            self.setup.parts(*CONVERSES), self.setup.brain(), self.setup.system,
            self.kind, self.echo, self.paced, list(map(file_hash, sounds)),
        ]  # fmt: skip

    def inputs(self) -> list[int]:
        return list(range(self.limit or COUNT))

    def measure(self, one: int) -> Item:
        scene, able = self.scene(one), assistant(self.setup)
        return asdict(play(able, scene, echo=self.echo, gain=1.0, paced=self.paced))

    def scene(self, one: int) -> Scene:
        """The scene of that number."""
        return _scenes(self.setup, self.sets, self.kind, max(self.limit or 0, COUNT))[one]


@cache
def _scenes(setup: Setup, sets: Sets, kind: str, count: int) -> list[Scene]:
    level = power(assistant(setup).say(WORDING).audio)
    return list(scenes(kind, Materials.of(sets, level, count), count, level))


def run(
    folder: Path,
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
    paced: bool = False,
    echo: bool = True,
    tasks: Sequence[str] | None = None,
    peer: bool = False,
) -> dict[str, Any]:
    """Play all scenes, or those of some tasks, and show what came of them.

    A ``peer``, pipecat, then listens to the same scenes but those of nothing but echo, which it has
    nothing for.

    Raises:
        UsageError: there is no such task, or no such peer.
    """
    report.check(json_path)
    smart_turn = _smart_turn() if peer else None
    unknown = set(tasks or ()) - set(KINDS)
    if unknown:
        raise UsageError(f"No task {', '.join(unknown)}: there are {', '.join(KINDS)}.")
    sets = find(folder)
    who = replace(setup(bundle, llm), system=SYSTEM, threads=None if paced else 1)
    wanted = [kind for kind in kinds(sets) if not tasks or kind in tasks]
    jobs = [Converse(who, sets, kind, limit, echo, paced) for kind in wanted]
    figures = _figures([job.run() for job in jobs])
    _show("edge-omni", figures["tasks"])
    if smart_turn is not None:
        heard = [smart_turn.Watch(job).run() for job in jobs if job.kind != "echo"]
        figures["peer"] = _figures(heard)
        _show(smart_turn.LABEL, figures["peer"]["tasks"])
    close()
    report.save(json_path, figures)
    return figures


def _smart_turn() -> ModuleType:
    try:
        return import_module("evals.smart_turn")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is missing. Install the peer, and then what it sets back again: "
            "`pip install pipecat-ai==1.14.0 && pip install 'soxr>=1.1'`."
        ) from error


def _figures(played: Sequence[list[Item]]) -> dict[str, Any]:
    return {
        "tasks": {items[0]["kind"]: summary(items) for items in played},
        "scenes": [item for items in played for item in items],
    }


TIMES = ("decided", "first", "stop")


def right(items: Sequence[Item]) -> Rate:
    """Scenes that went right, of those that could be played."""
    return Rate.of((float(item["right"]), 1.0) for item in items if not item["void"])


def quantile(items: Sequence[Item], name: str, q: float) -> float:
    """Percentile ``q`` of one of ``TIMES`` over the scenes that have one, in seconds."""
    times = [item[name] for item in items if not item["void"] and not math.isnan(item[name])]
    return float(np.percentile(times, q)) if times else math.nan


def summary(items: Sequence[Item]) -> dict[str, Any]:
    """The share of scenes that went right, and times in seconds."""
    counted = [item for item in items if not item["void"]]
    figures: dict[str, Any] = {"scenes": len(counted), "right": asdict(right(items).interval())}
    for name in TIMES:
        times = {f"p{q}": quantile(items, name, q) for q in (50, 90)}
        if not math.isnan(times["p50"]):
            figures[name] = times
    for name in ("lowered", "resumed"):
        figures[name] = sum(item[name] > 0 for item in counted) / max(1, len(counted))
    return figures


TITLES = {
    "pause": "pause in a turn: waited",
    "turn": "turn over: answered",
    "interruption": "interruption: stopped and answered",
    "backchannel": "backchannel: went on",
    "talking to others": "talk to others: went on",
    "background speech": "background speech: went on",
    "noise": "noise: went on",
    "echo": "its own echo: went on",
}


def _show(who: str, tasks: dict[str, Any]) -> None:
    title = f"Turn-taking of {who}: % of scenes that went right (95 %), times p50, p90 in ms"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("", "right", "of", "decided", "sound", "silent", "resumed"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for kind, found in tasks.items():
        value, low, high = (100 * found["right"][name] for name in ("value", "low", "high"))
        table.add_row(
            kind,
            f"{value:.0f} ({low:.0f}-{high:.0f})",
            str(found["scenes"]),
            *(_milliseconds(found, name) for name in TIMES),
            f"{found['resumed']:.0%}",
        )
    report.console.print(table)


def _milliseconds(found: dict[str, Any], name: str) -> str:
    if name not in found:
        return report.NOTHING
    return ", ".join(f"{1000 * found[name][q]:.0f}" for q in ("p50", "p90"))
