"""Scenes at a microphone: who says what to whom, with pauses, others, noise and echo.

    python -m train.turns.scenes OUT --recordings DIR... --count 4000

Each scene is heard by the bundle's own graphs through the dialogue's own rules, so that what is
kept is what the runtime will judge by (``edge_omni.state_head.Evidence``) at the same moments: when
a pause has begun, and again and again while somebody speaks over the assistant.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from edge_omni.adapter import Heard, joined
from edge_omni.assistant import Assistant
from edge_omni.audio.echo import FrontEnd
from edge_omni.audio.voice_activity import FRAME, VoiceActivity
from edge_omni.dialogue import JUDGEMENT, Audio, Dialogue, Feed, Floor, Ignore, Prepare, Rules
from edge_omni.state_head import Evidence, Loudness, above
from train.hearing.augment import (
    babble,
    band_limit,
    clatter,
    coloured_noise,
    mix,
    reverberate,
)
from train.hearing.data import read
from train.hearing.synthesis import RATE, Voices
from train.turns.hum import hum
from train.turns.texts import SAID, turns

Pcm = NDArray[np.float32]

LISTEN, ANSWER, IGNORE = range(3)
SHARES = {
    "turn": 0.18,
    "fragment": 0.10,
    "interruption": 0.20,
    "backchannel": 0.27,
    "to others": 0.12,
    "background": 0.06,
    "noise": 0.04,
    "echo": 0.03,
}
"""How often each kind of scene is made."""
OVER = {"turn": 0, "fragment": 0, "interruption": 1, "echo": 1, "backchannel": 0.9, "noise": 0.7}
"""How often it is said while the assistant speaks; else two times of three."""
IGNORED = {"backchannel", "to others", "background", "noise", "echo"}
EVERY = round(JUDGEMENT * RATE / FRAME)
"""Frames from one judgement of speech over the answer to the next, ..."""
EARLY = 48
"""... up to so many frames after its first sign, and after these ..."""
LATER = 24
"""... one in so many."""
AFTER = (12,)
"""Frames of silence behind it at which it is judged once more."""
HUMS = 0.25
"""Share of backchannels that hold no word."""
PEOPLE = 0.35
"""Share of turns that people say. They say nothing over an answer: if they only interrupted it,
whoever sounds like a person would be taken to interrupt."""
OWN = 200
"""Sentences that the assistant says."""
FADE = RATE // 8
"""Samples at the end of what is said in which nothing more is to be heard."""
SHARD = 40
BEGUN = RATE // 10
"""Samples of what is said after which it may be told from what was there before."""
# No turn ends and no answer stops while a scene is heard.
RULES = Rules(end_silence=1e6, over_voiced=1e6)


@dataclass
class Scene:
    """What reaches the microphone.

    Attributes:
        pcm: float32 [n] at 16 kHz, as the front end leaves it to be understood.
        gate: the same as the front end leaves it to tell voice from none.
        kind: one of ``SHARES``.
        over: whether the assistant speaks meanwhile.
        begins, ends: the samples at which the first and the last of it is said.
        user: level in dB of what the user said before; None if they said nothing.
    """

    pcm: Pcm
    gate: Pcm
    kind: str
    over: bool
    begins: int
    ends: int
    user: float | None

    def label(self, sample: int) -> int:
        """The state that is right at ``sample``."""
        if self.kind in IGNORED or (self.over and sample < self.begins + BEGUN):
            return IGNORE
        over = sample >= self.ends - FADE and self.kind != "fragment"
        return ANSWER if over else LISTEN


class Stage:
    """Makes scenes.

    Args:
        people: recordings of people that end as turns do.
        television: recordings of voices out of a loudspeaker.
        left: recordings of what an echo canceller leaves of one.
        kinds: of the scenes; all of them when empty.
    """

    def __init__(
        self,
        people: Sequence[Path],
        television: Sequence[Path],
        left: Sequence[Path],
        count: int,
        seed: int,
        kinds: Sequence[str] = (),
    ) -> None:
        self._shares = {kind: SHARES[kind] for kind in kinds or SHARES}
        self._voices = Voices()
        self._people, self._television, self._left = people, television, left
        self._turns = turns(count, seed)
        self._seed = seed
        self._answers: dict[int, Pcm] = {}

    def scene(self, number: int) -> Scene:
        """The scene with this number, the same for the same seed."""
        key = self._seed * 1_000_003 + number
        dice, draw = random.Random(key), np.random.default_rng(key)
        kind = dice.choices(list(self._shares), list(self._shares.values()))[0]
        over = dice.random() < OVER.get(kind, 0.67)
        loud = dice.uniform(-38, -16)
        said = self._said(kind, number, dice, draw)
        pause = 0.0
        if kind in ("turn", "interruption") and len(said) > 1.2 * RATE and dice.random() < 0.5:
            place = _quiet(said, int(dice.uniform(0.3, 0.8) * len(said)))
            pause = dice.uniform(0.35, 1.4)
            said = np.insert(said, place, np.zeros(int(pause * RATE), np.float32))
        level = loud + dice.gauss(0, 2)
        if kind == "background":
            level -= dice.uniform(7, 22)
        elif kind in ("noise", "echo"):
            level -= dice.uniform(-3, 20)
        lead = dice.uniform(1, 3) if over else 0.5
        pcm = np.concatenate([_silence(lead), _at_level(said, level), _silence(0.8)])
        ends = len(pcm) - int(0.8 * RATE)
        if kind != "background" and dice.random() < 0.3:
            pcm = reverberate(pcm, draw)
        pcm = pcm + self._noise(len(pcm), loud, dice, draw)
        known = over or dice.random() < 0.4
        pcm, gate = self._through(pcm, loud, dice, draw) if over else (pcm, pcm)
        pcm, gate = (np.clip(x, -1, 1).astype(np.float32) for x in (pcm, gate))
        begins = int(lead * RATE)
        return Scene(pcm, gate, kind, over, begins, ends, loud if known else None)

    def _said(self, kind: str, number: int, dice: random.Random, draw: np.random.Generator) -> Pcm:
        text = self._turns[number % len(self._turns)]
        if kind == "noise":
            samples = int(dice.uniform(0.4, 3) * RATE)
            make = clatter if dice.random() < 0.6 else coloured_noise
            return make(samples, draw)
        if kind == "echo":  # and perhaps what is left of a harder one
            if self._left and dice.random() < 0.5:
                return _some(read(dice.choice(self._left)), dice)
            return _silence(dice.uniform(2, 4))
        if kind == "backchannel" and dice.random() < HUMS:
            return hum(draw)
        if kind == "background":
            long = np.concatenate(
                [self._anyone(number + i, dice) for i in range(dice.randint(1, 2))]
            )
            if dice.random() < 0.3:
                others = [self._anyone(number + i, dice) for i in range(3, 6)]
                long = babble(len(long), others, draw)
            if dice.random() < 0.5:
                long = band_limit(long, dice.uniform(80, 300), dice.uniform(3000, 7000))
            return reverberate(long, draw) if dice.random() < 0.8 else long
        if kind == "turn" and self._people and dice.random() < PEOPLE:
            return _trimmed(_some(_trimmed(read(dice.choice(self._people))), dice, end=True))
        return _trimmed(self._voices.speak(SAID[kind](text, dice), dice))

    def _anyone(self, number: int, dice: random.Random) -> Pcm:
        recordings = dice.choice([self._people, self._television, []])
        if recordings:
            return _trimmed(_some(read(dice.choice(recordings)), dice))
        return self._voices.speak(self._turns[number % len(self._turns)], dice)

    def _own(self, number: int) -> Pcm:
        """Something that the assistant says."""
        if number not in self._answers:
            text = self._turns[number % len(self._turns)]
            self._answers[number] = self._voices.own(text)
        return self._answers[number]

    def _noise(
        self, samples: int, loud: float, dice: random.Random, draw: np.random.Generator
    ) -> Pcm:
        noise = coloured_noise(samples, draw)
        if dice.random() < 0.3:
            noise = mix(noise, clatter(samples, draw), 0)
        return _at_level(noise, loud - dice.uniform(12, 45))

    def _through(
        self, near: Pcm, loud: float, dice: random.Random, draw: np.random.Generator
    ) -> tuple[Pcm, Pcm]:
        """What the front end leaves of ``near`` while the assistant speaks, for the two uses."""
        if dice.random() < 0.15:  # headphones
            return near, near
        far = np.concatenate([self._own(dice.randrange(OWN)) for _ in range(2)])
        far = np.resize(far, len(near) + FRAME)[: len(near)]
        late = np.pad(far, (int(dice.uniform(0.02, 0.05) * RATE), 0))[: len(near)]
        echo = _at_level(reverberate(late, draw), loud + dice.uniform(-18, 3))
        front_end = FrontEnd()
        clean = front_end.process((near + echo).astype(np.float32), far)
        return front_end.linear, clean


def _silence(seconds: float) -> Pcm:
    return np.zeros(int(seconds * RATE), np.float32)


def _at_level(pcm: Pcm, decibels: float) -> Pcm:
    """``pcm`` scaled so that the loud half of it has this power."""
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.sort(np.mean(np.square(frames), 1)) if len(frames) else np.array([1e-6])
    power = float(powers[len(powers) // 2 :].mean()) + 1e-12
    return (pcm * np.sqrt(10 ** (decibels / 10) / power)).astype(np.float32)


def _quiet(pcm: Pcm, place: int, within: float = 0.15) -> int:
    """The quietest sample near ``place``, as between two words."""
    start = max(0, place - int(within * RATE))
    power = np.convolve(np.square(pcm[start : place + int(within * RATE)]), np.ones(320), "same")
    return start + int(power.argmin())


def _some(pcm: Pcm, dice: random.Random, *, end: bool = False) -> Pcm:
    """Two to five seconds from between two words on: of the ``end``, or of any place."""
    length = int(dice.uniform(2, 5) * RATE)
    if len(pcm) <= length:
        return pcm
    start = len(pcm) - length
    start = _quiet(pcm, start if end else dice.randint(0, start))
    return pcm[start:] if end else pcm[start : start + length]


def _trimmed(pcm: Pcm) -> Pcm:
    """Without the silence around it."""
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    return pcm[max(0, loud[0] - 800) : loud[-1] + 800] if len(loud) else pcm


@dataclass
class Points:
    """What was heard of scenes, row by row.

    Attributes:
        frames: float16 [n, FRAMES, width]; hidden: float16 [n, TOKENS, width]; llm: float16 [n,
            llm_width], zeros for what is said over the assistant.
        facts: float32 [n, 5], see :class:`edge_omni.state_head.Evidence`.
        label: int64 [n], the right state; scene, kind: int64 [n].
    """

    frames: Tensor
    hidden: Tensor
    llm: Tensor
    facts: Tensor
    label: Tensor
    scene: Tensor
    kind: Tensor

    def __len__(self) -> int:
        return len(self.label)


Row = dict[str, NDArray[np.generic] | int]


class Ear:
    """Hears scenes as the runtime does."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    def context(self, question: str, words: int) -> None:
        """What was talked about before: a question and ``words`` tokens of its answer."""
        self._assistant.reset()
        if words:
            self._assistant.ask_text(question, max_tokens=words)

    def hear(self, scene: Scene) -> Iterator[Row]:
        """The points of a scene."""
        assistant = self._assistant
        assistant.listener.reset()
        loudness = Loudness()
        dialogue = Dialogue(RULES, Floor.ASSISTANT if scene.over else Floor.NOBODY)
        opened = now = 0
        heard: list[Heard] = []
        for voiced in VoiceActivity().push(scene.gate):
            if voiced:
                loudness.add(scene.pcm[now : now + FRAME])
            now += FRAME
            prepared = False
            for action in dialogue.handle(Audio(FRAME, voiced)):
                if isinstance(action, Ignore):
                    assistant.listener.reset()
                    opened, heard, loudness = 0, [], Loudness()
                if isinstance(action, Feed):
                    opened = opened or now
                    heard.append(assistant.listener.push(scene.pcm[action.start : action.end]))
                prepared = prepared or isinstance(action, Prepare)
            if prepared or (scene.over and opened and _judged((now - opened) // FRAME, dialogue)):
                level = above(loudness, scene.user)
                yield self._point(scene, dialogue, heard, level, now)

    def _point(
        self,
        scene: Scene,
        dialogue: Dialogue,
        heard: Sequence[Heard],
        level: float | None,
        now: int,
    ) -> Row:
        listener = self._assistant.listener.fork()
        whole = joined([*heard, listener.finish()])
        width = self._assistant.llm.width
        llm = np.zeros(width, np.float32) if scene.over else self._thought(whole)
        evidence = Evidence(
            listener.frames[None], listener.hidden[None], llm[None], np.zeros_like(llm[None]),
            dialogue.silence, dialogue.voiced, scene.over, level,
        )  # fmt: skip
        return {
            "frames": listener.frames.astype(np.float16),
            "hidden": listener.hidden.astype(np.float16),
            "llm": llm.astype(np.float16),
            "facts": evidence.facts[0],
            "label": scene.label(now),
            "kind": list(SHARES).index(scene.kind),
        }

    def _thought(self, heard: Heard) -> NDArray[np.float32]:
        """The LLM's hidden state at the head of its answer."""
        conversation = self._assistant.conversation.fork()
        assert conversation is not None
        conversation.hear(heard)
        head = conversation.begin_answer()
        self._assistant.conversation.drop(conversation)
        return head


def _judged(frames: int, dialogue: Dialogue) -> bool:
    """Whether speech over the answer is judged so many frames after its first sign."""
    silent = round(dialogue.silence * RATE / FRAME)
    if frames < EARLY:
        return frames % EVERY == 0
    return (silent == 0 and frames % LATER == 0) or silent in AFTER


def load(*folders: Path) -> Points:
    """The points in the shards of folders."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.pt"))]
    shards = [torch.load(path, weights_only=True) for path in paths]
    return Points(**{name: torch.cat([shard[name] for shard in shards]) for name in shards[0]})


def write(path: Path, rows: Sequence[Row]) -> None:
    """One shard."""
    shard = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    partial = path.with_suffix(".part")
    torch.save(shard, partial)
    partial.rename(path)


def main() -> None:
    """Make scenes, hear them, and write the points shard by shard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="sound files")
    parser.add_argument("--television", type=Path, nargs="*", default=[], help="sound files")
    parser.add_argument("--left", type=Path, nargs="*", default=[], help="sound files")
    parser.add_argument("--count", type=int, default=4000, help="of scenes")
    parser.add_argument("--bundle", default="tiny")
    parser.add_argument("--llm", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=[], choices=SHARES, help="only these")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stage = Stage(
        options.people,
        options.television,
        options.left,
        options.count,
        options.seed,
        options.kinds,
    )
    ear = Ear(Assistant(options.bundle, llm=options.llm, threads=1))
    questions = turns(options.count, options.seed + 1)
    apart = 1_000_000 * (options.seed - 1)  # scenes of other seeds are others
    for first in tqdm(range(0, options.count, SHARD), unit="shard"):
        path = options.out / f"{first:06d}.pt"
        if path.exists():
            continue
        ear.context(questions[first], first // SHARD % 4 * 15)
        rows: list[Row] = []
        for number in range(first, min(first + SHARD, options.count)):
            rows += [row | {"scene": apart + number} for row in ear.hear(stage.scene(number))]
        write(path, rows)


if __name__ == "__main__":
    main()
