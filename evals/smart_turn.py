"""A peer in the scenes of ``evals.duplex``: pipecat's turn-taking, set as it comes.

Silero's voice activity tells when a voice begins, which interrupts, and when it ends; Smart Turn v3
then says whether the turn is over, and if not, 3 s of silence do. All is made easy for it: its
microphone hears nothing of the speaker, and it waits for no transcript. It answers nothing, so that
there is no first sound.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADState

from evals.duplex import LEAD, Converse, Outcome
from evals.jobs import Item, Job
from evals.room import HISS, RATE
from evals.scenes import Scene

WINDOW = 512  # samples that Silero's model takes
PATIENCE = 4.0  # seconds of silence behind everything, which are enough for the 3 s
LABEL = f"pipecat {version('pipecat-ai')}"

logger.disable("pipecat")


@dataclass(frozen=True)
class Watch(Job[int]):
    """Listens to the scenes that another job plays."""

    converse: Converse

    @property
    def name(self) -> str:
        return f"{self.converse.kind}, {LABEL}"

    def decided_by(self) -> Any:
        return [LABEL, self.converse.decided_by()]

    def inputs(self) -> list[int]:
        return self.converse.inputs()

    def measure(self, one: int) -> Item:
        return asdict(watch(self.converse.scene(one)))


def watch(scene: Scene) -> Outcome:
    """What comes of a scene. What is said over an answer comes when there would be one."""
    parts = [np.zeros(round(LEAD * RATE)), scene.turn, np.zeros(round(PATIENCE * RATE))]
    ended = (len(parts[0]) + len(parts[1])) / RATE
    begun = after = math.inf
    if scene.over is not None:
        parts.append(np.zeros(round(scene.after * RATE)))
        begun = sum(map(len, parts)) / RATE
        after = begun + len(scene.over) / RATE
        parts += [scene.over, np.zeros(round(PATIENCE * RATE))]
    pcm = np.concatenate(parts)
    pcm += HISS * np.random.default_rng(0).standard_normal(len(pcm))
    voices, ends = asyncio.run(_listen(np.asarray(pcm, np.float32)))

    outcome = Outcome(scene.kind)
    early = any(at < ended for at in ends)
    stopped = next((at for at in voices if at >= begun), math.nan)
    if scene.kind in ("pause", "turn"):
        outcome.decided = math.nan if early else next(iter(ends), math.nan) - ended
        outcome.right = not early and not (scene.kind == "turn" and math.isnan(outcome.decided))
    elif scene.kind == "interruption":
        outcome.stop = stopped - begun
        outcome.decided = next((at for at in ends if at > max(stopped, after)), math.nan) - after
        outcome.right = not math.isnan(outcome.decided)
    else:
        outcome.right = math.isnan(stopped)
    return outcome


async def _listen(pcm: NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """The seconds at which a voice is said to begin, and those at which a turn is over."""
    voice, turns = SileroVADAnalyzer(), _smart_turn()
    voice.set_sample_rate(RATE)
    turns.set_sample_rate(RATE)
    turns.update_vad_start_secs(voice.params.start_secs)
    turns.clear()
    voices: list[float] = []
    ends: list[float] = []
    speaking = False
    for start in range(0, len(pcm) - WINDOW + 1, WINDOW):
        piece = np.clip(32767 * pcm[start : start + WINDOW], -32768, 32767).astype("<i2").tobytes()
        now = (start + WINDOW) / RATE
        state = await voice.analyze_audio(piece)
        if state is VADState.SPEAKING and not speaking:
            speaking = True
            voices.append(now)
        over = turns.append_audio(piece, speaking)
        if state is VADState.QUIET and speaking:
            speaking = False
            before = time.perf_counter()
            over, _ = await turns.analyze_end_of_turn()
            now += time.perf_counter() - before
        if over is EndOfTurnState.COMPLETE:
            ends.append(now)
    await voice.cleanup()
    return voices, ends


@cache
def _smart_turn() -> LocalSmartTurnAnalyzerV3:
    return LocalSmartTurnAnalyzerV3()
