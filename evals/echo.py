"""The echo canceller: how much of the echo goes, how well the user is heard through it, its cost.

Scenes are made from recordings: one voice comes out of the speaker and reaches the microphone
through a room, as loud as the user, who speaks at the same time or not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.table import Table

from edge_omni.audio import files
from edge_omni.audio.echo import FrontEnd
from evals import report
from evals.conditions import impulse_response
from evals.data import Question, questions
from evals.drift import simulate

RATE = 16_000
ROOM = 0.3  # seconds until it is silent by 60 dB
HISS = 1e-4  # of full scale; no microphone is silent
LENGTH = 30.0  # seconds of voice in a scene of echo alone
CONVERGED = 5.0  # seconds after which the echo is looked at
LEAD = 6.0  # seconds that the assistant has spoken when the user begins
BARGE_IN = 0.4  # seconds that the assistant goes on once the user has begun
DELAYS = (0.0, 0.02, 0.1, 0.2, 0.3, 0.5, 0.7)  # seconds
DRIFTS = (20, 100, -100)  # parts per million
OUTPUTS = ("microphone", "clean", "linear")
Pcm = NDArray[np.float32]


def decibels(pcm: Pcm) -> float:
    """Mean power over full scale."""
    return float(10 * np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-12))


def echo_of(
    far: Pcm,
    *,
    delay: float,
    room: float = ROOM,
    ppm: float = 0.0,
    overdriven: bool = False,
    seed: int = 0,
) -> Pcm:
    """What the microphone hears of the speaker: float32 [n], as long and as loud as ``far``.

    Args:
        delay: seconds on the way, buffers of the devices included.
        room: seconds until it is silent by 60 dB.
        ppm: how much faster the microphone's clock runs.
        overdriven: the loudspeaker is small, and its peaks are pressed to half their height.
    """
    played = np.tanh(far * (2 / np.abs(far).max())) if overdriven else far
    response = impulse_response(room, seed)
    size = 1 << (len(far) + len(response)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(response, size), size)[: len(far)]
    if ppm:
        wet = soxr.resample(wet, RATE, RATE * (1 + 1e-6 * ppm))
    late = np.pad(wet, (round(delay * RATE), len(far)))[: len(far)].astype(np.float32)
    return late * np.float32(10 ** ((decibels(far) - decibels(late)) / 20))


def loss(far: Pcm, heard: Pcm) -> dict[str, float]:
    """Echo return loss enhancement in dB, in the first second and once converged, the latter also
    of the linear output."""
    front_end = FrontEnd()
    left = front_end.process(heard, far)
    late = slice(round(CONVERGED * RATE), len(left))
    return {
        "first": decibels(heard[:RATE]) - decibels(left[:RATE]),
        "converged": decibels(heard[late]) - decibels(left[late]),
        "linear": decibels(heard[late]) - decibels(front_end.linear[late]),
    }


@dataclass(frozen=True)
class Scene:
    """The assistant speaks, then the user as well.

    Attributes:
        near, far, echo: the user, what the speaker plays and what comes back, float32 [n].
        begin: the sample at which the user begins.
    """

    near: Pcm
    far: Pcm
    echo: Pcm
    begin: int

    def heard(self, *, echo: bool = True, output: str = "microphone") -> Pcm:
        """What the recogniser gets of the user: the microphone's signal, or the front end's clean
        or linear output."""
        near = self.near + self.echo if echo else self.near
        far = self.far if echo else np.zeros_like(self.far)
        near = near + HISS * _hiss(len(near))
        front_end = FrontEnd(echo=output != "microphone")
        clean = front_end.process(near, far)
        return (front_end.linear if output == "linear" else clean)[self.begin :]


def scene(near: Pcm, voice: Pcm, *, stops: bool, delay: float = 0.08, seed: int = 0) -> Scene:
    """The user speaks ``near`` while the assistant speaks; it ``stops`` soon after, or never."""
    begin = round(LEAD * RATE)
    near = np.pad(near, (begin, RATE // 2))
    far = np.resize(voice, len(near)) * np.float32(1)
    if stops:
        far[begin + round(BARGE_IN * RATE) :] = 0
    echo = echo_of(far, delay=delay, seed=seed)
    talk = decibels(near[begin:])
    return Scene(near, far, echo * np.float32(10 ** ((talk - decibels(echo[:begin])) / 20)), begin)


def run(
    folder: Path, *, limit: int | None = None, json_path: Path | None = None, hour: bool = True
) -> dict[str, Any]:
    """Measures with the voices of a folder with questions.tsv."""
    report.check(json_path)
    items = questions(folder, limit)
    voice = np.concatenate([files.read(item.audio) for item in items])
    figures: dict[str, Any] = {
        "erle": _losses(np.resize(voice, round(LENGTH * RATE))),
        "cost": cost(np.resize(voice, round(LENGTH * RATE))),
        "wer": _word_errors(items),
        "hour": [vars(simulate(ppm)) for ppm in (-100, 100)] if hour else [],
    }
    _show(figures)
    report.save(json_path, figures)
    return figures


def cost(far: Pcm) -> dict[str, float]:
    """The share of one core that each part takes, in frames of 10 ms as on a device."""
    heard = echo_of(far, delay=0.1)
    shares = {}
    for name, switches in {
        "echo": {},
        "echo and noise": {"noise": True},
        "echo, noise and gain": {"noise": True, "gain": True},
    }.items():
        front_end = FrontEnd(**switches)
        begin = time.process_time()
        for start in range(0, len(far), 320):
            front_end.process(heard[start : start + 320], far[start : start + 320])
        shares[name] = (time.process_time() - begin) / (len(far) / RATE)
    return shares


def _losses(far: Pcm) -> list[dict[str, Any]]:
    ways = [(delay, 0, False) for delay in DELAYS]
    ways += [(0.1, ppm, False) for ppm in DRIFTS] + [(0.1, 0, True)]
    losses = []
    for delay, ppm, overdriven in ways:
        echo = echo_of(far, delay=delay, ppm=ppm, overdriven=overdriven)
        way = {"delay": delay, "ppm": ppm, "overdriven": overdriven}
        losses.append({**way, **loss(far, echo + HISS * _hiss(len(far)))})
    return losses


def _word_errors(items: Sequence[Question]) -> dict[str, float]:
    from evals.setup import judge
    from evals.text import word_error_rate

    wanted = [item.question for item in items]
    sounds = [files.read(item.audio) for item in items]
    caption: dict[str, list[str]] = {}
    for index, near in enumerate(report.progress(sounds, "Listening")):
        others = islice(cycle(sounds), index + 1, index + 6)
        voice = np.concatenate(list(others))
        heard = {}
        for stops, when in ((True, "it stops after 0.4 s"), (False, "it goes on")):
            made = scene(near, voice, stops=stops, seed=index)
            for output in OUTPUTS:
                heard[f"{when}, {output}"] = made.heard(output=output)
                heard[f"it is silent, {output}"] = made.heard(echo=False, output=output)
        for name, pcm in heard.items():
            caption.setdefault(name, []).append(judge().listen(pcm))
    return {name: word_error_rate(wanted, captions) for name, captions in caption.items()}


def _hiss(count: int) -> Pcm:
    return np.random.default_rng(0).standard_normal(count, np.float32)


def _show(figures: dict[str, Any]) -> None:
    table = Table(title="Echo return loss enhancement", title_justify="left")
    for name in (
        "delay",
        "drift",
        "loudspeaker",
        "first second",
        f"after {CONVERGED:.0f} s",
        "linear",
    ):
        table.add_column(name, justify="right")
    for row in figures["erle"]:
        table.add_row(
            f"{1000 * row['delay']:.0f} ms",
            f"{row['ppm']:+d} ppm",
            "overdriven" if row["overdriven"] else "",
            f"{row['first']:.0f} dB",
            f"{row['converged']:.0f} dB",
            f"{row['linear']:.0f} dB",
        )
    report.console.print(table)
    report.show(
        "Cost, of one core",
        {name: report.percent(share) for name, share in figures["cost"].items()},
    )
    report.show(
        "Word error rate of the user while the voice speaks as loud (judge: Whisper base)",
        {name: report.percent(wer) for name, wer in figures["wer"].items()},
    )
    if figures["hour"]:
        report.show(
            "An hour on two clocks: the reference is off by at most",
            {f"{hour['ppm']:+d} ppm": f"{1000 * hour['off']:.1f} ms" for hour in figures["hour"]},
        )
