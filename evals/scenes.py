"""Scenes of conversation, made of recordings and voices that no training has heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio import files
from evals import data
from evals.conditions import reverberant
from evals.strangers import strangers

RATE = 16_000
FRAME = 320
PAUSES = (0.4, 1.5)  # seconds, evenly spread
FARTHER = 12.0  # dB that others in the room are quieter than the user
NOISE = 8.0  # dB that noise is quieter
SECONDS = 3.0  # of background speech and of noise
AFTER = (1.0, 2.5)  # seconds of an answer before something is said over it
ROOM = 0.4  # seconds until it is silent by 60 dB, for others in it
Pcm = NDArray[np.float32]

BACKCHANNELS = (
    "Uh-huh.", "Mm-hmm.", "Yeah.", "Right.", "Okay.", "I see.", "Oh, right.", "Yeah, okay.",
    "Sure, yeah.", "Mm.", "Ah, right.", "Oh yeah.", "Okay, okay.", "Right, right.", "Wow.",
    "Really?", "Hmm.", "Mm-hmm, mm-hmm.", "Yes, yes.", "I got it.",
)  # fmt: skip
TO_OTHERS = (
    "Mia, could you switch the oven off?", "Leo, the parcel is on the stairs.",
    "Can you hand me that blanket, Ruth?", "Tom, I think the baby is awake.",
    "Hello, this is the reception, who is calling?", "No Simon, the blue one is yours.",
    "Sweetheart, have you locked the garage?", "Paul, the taxi is waiting outside.",
    "Clara, leave some cake for your sister.", "Just a moment, Nina, I'm nearly finished here.",
    "Hey Oscar, stop chewing on that.", "Grandma, would you like another cup?",
    "Julia said the meeting was moved to Thursday.", "Eric, please take the rubbish out.",
    "I'm on the phone, Lucy, I'll be right there.", "Did you pick up the prescription, Hugo?",
    "Martha, the window in the hall is still open.", "Boys, your shoes don't belong there.",
    "Good evening Walter, come in, come in.", "Felix, has the plumber called yet?",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What happens at the microphone.

    Attributes:
        kind: one of ``KINDS``.
        turn: what the user says, float32 [n] from its first to its last sound.
        pause: seconds in ``turn`` at which they pause in it, from and to.
        over: what is heard over the answer, from its first to its last sound; None for nothing.
        after: seconds of the answer after which that begins.
    """

    kind: str
    turn: Pcm
    pause: tuple[float, float] | None = None
    over: Pcm | None = None
    after: float = 0.0


@dataclass(frozen=True)
class Materials:
    """What scenes are made of; all of it float32 at 16 kHz, at one level.

    Attributes:
        turns: whole turns to an assistant.
        others: people who say something else.
        noise: a recording of noise.
    """

    turns: Sequence[Pcm]
    others: Sequence[Pcm]
    noise: Pcm | None

    @classmethod
    def of(cls, found: data.Sets, level: float, limit: int) -> Materials:
        """What measuring sets hold, brought to ``level`` dB of full scale."""
        paths = [
            [item.audio for item in data.questions(place, limit)] for place in found.questions
        ] + [[item.audio for item in data.slots(place, limit)] for place in found.slots]
        # One of each in turn, so that the first few are of every kind.
        mixed = [path for group in zip(*paths, strict=False) for path in group]
        others = [path for place in found.recordings for path in data.sounds(place, limit)]
        return cls(
            [levelled(trimmed(files.read(path)), level) for path in mixed[:limit]],
            [levelled(trimmed(files.read(path)), level) for path in others[:limit]],
            levelled(files.read(found.noise), level) if found.noise else None,
        )


def power(pcm: Pcm) -> float:
    """Of the louder half of it, in dB of full scale."""
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.sort(np.mean(np.square(frames), 1)) if len(frames) else np.zeros(1)
    return float(10 * np.log10(powers[len(powers) // 2 :].mean() + 1e-12))


def levelled(pcm: Pcm, level: float) -> Pcm:
    """``pcm`` at ``level`` dB of full scale."""
    return np.asarray(pcm * 10 ** ((level - power(pcm)) / 20), np.float32)


def trimmed(pcm: Pcm) -> Pcm:
    """From its first to its last sound."""
    loud = np.flatnonzero(np.abs(pcm) > 0.03 * np.abs(pcm).max())
    return pcm[loud[0] : loud[-1] + 1] if len(loud) else pcm


def scenes(kind: str, materials: Materials, count: int, level: float) -> Iterator[Scene]:
    """``count`` scenes of a kind, always the same."""
    dice = np.random.default_rng(sum(kind.encode()))
    turns = materials.turns
    for i in range(count):
        turn = turns[i % len(turns)]
        if kind == "pause":
            yield _paused(turn, dice)
        elif kind in ("turn", "echo"):
            yield Scene(kind, turn)
        else:
            over = _OVER[kind](materials, i, level)
            if over is not None:
                yield Scene(kind, turn, None, over, float(dice.uniform(*AFTER)))


def _paused(turn: Pcm, dice: np.random.Generator) -> Scene:
    """A turn with a pause between two words."""
    place = int(dice.uniform(0.35, 0.7) * len(turn))
    start = max(0, place - RATE // 4)
    near = np.convolve(np.square(turn[start : place + RATE // 4]), np.ones(640), "same")
    place = start + int(near.argmin())
    seconds = float(dice.uniform(*PAUSES))
    pcm = np.insert(turn, place, np.zeros(round(seconds * RATE), np.float32))
    return Scene("pause", pcm, (place / RATE, place / RATE + seconds))


def _interruption(materials: Materials, i: int, level: float) -> Pcm:
    return materials.turns[(i + len(materials.turns) // 2) % len(materials.turns)]


def _backchannel(materials: Materials, i: int, level: float) -> Pcm:
    return _said(BACKCHANNELS, i, level)


def _to_others(materials: Materials, i: int, level: float) -> Pcm:
    return _said(TO_OTHERS, i, level)


def _said(texts: Sequence[str], i: int, level: float) -> Pcm:
    """The texts in turn, by another voice in each round."""
    text, number = texts[i % len(texts)], i + i // len(texts)
    return levelled(trimmed(strangers().say(text, number)), level)


def _background(materials: Materials, i: int, level: float) -> Pcm | None:
    if not materials.others:
        return None
    voice = materials.others[i % len(materials.others)][: round(SECONDS * RATE)]
    return levelled(reverberant(voice, ROOM), level - FARTHER)


def _noise(materials: Materials, i: int, level: float) -> Pcm | None:
    if materials.noise is None:
        return None
    length = round(SECONDS * RATE)
    start = 7919 * i % max(1, len(materials.noise) - length)
    return levelled(materials.noise[start : start + length], level - NOISE)


_OVER: dict[str, Callable[[Materials, int, float], Pcm | None]] = {
    "interruption": _interruption,
    "backchannel": _backchannel,
    "talking to others": _to_others,
    "background speech": _background,
    "noise": _noise,
}
KINDS = ("pause", "turn", *_OVER, "echo")


def kinds(found: data.Sets) -> list[str]:
    """The kinds of scenes that these measuring sets are enough for."""
    if not (found.questions or found.slots):
        return []
    missing = {"background speech"} if not found.recordings else set()
    missing |= {"noise"} if found.noise is None else set()
    return [kind for kind in KINDS if kind not in missing]
