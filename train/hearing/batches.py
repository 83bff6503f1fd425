"""Batches for distillation: augmented sound, the teacher's features, tokens and where it ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_omni.errors import UsageError
from train.hearing.augment import augment
from train.hearing.data import CHUNK, END, PROMPT, WIDTH, Utterance, load_index
from train.hearing.encoder import FRAME

# A token counts as heard when its attention peaks this long before the sound ends, and as unheard
# when it peaks this long after; what lies between is neither asked for nor punished. In frames.
HEARD, UNHEARD = 10, 8
# Chunks are trained in windows of six that do not overlap: nearly what encoding each chunk six
# times (see encoder.py) comes to, at a sixth of the cost. The first of a window is as it is
# encoded for good, the last as it is when it is the newest.
BLOCK = 96
# Chunks of silence behind a recording, at most.
QUIET = 7
# Recordings at hand for what is heard behind those of a batch.
OTHERS = 6
IGNORE = -1


class Batch(NamedTuple):
    """B utterances, padded.

    Attributes:
        pcm: float32 [B, samples], what the student hears.
        offset: the frame at which the first whole window begins, 0 to 80.
        visible: int [B], frames that the student may look at (whole chunks).
        compared: int [B], frames whose features are compared with the teacher's.
        final, middle: the teacher's features float32 [B, T, width].
        tokens: int64 [B, n], prompt and tokens; known: int64 [B], the teacher's frames.
        targets: int64 [B, n], the token to come, END, or IGNORE.
    """

    pcm: Tensor
    offset: int
    visible: Tensor
    compared: Tensor
    known: Tensor
    final: Tensor
    middle: Tensor
    tokens: Tensor
    targets: Tensor


class Folder:
    """A data folder of :mod:`train.hearing.data`, read piece by piece: it may grow meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def items(self) -> list[Utterance]:
        """The utterances that are there by now."""
        return load_index(self.path) if (self.path / "index.jsonl").exists() else []

    def sound(self, item: Utterance) -> NDArray[np.float32]:
        """PCM of one utterance [samples]."""
        pcm = np.fromfile(self.path / "pcm.i16", np.int16, item.samples, offset=2 * item.start)
        return pcm.astype(np.float32) / 32768

    def features(self, layer: str, item: Utterance) -> NDArray[np.float16]:
        """What the teacher's layer "final" or "middle" gave for one utterance [frames, width]."""
        count, first = item.frames * WIDTH, 2 * item.first * WIDTH
        rows = np.fromfile(self.path / f"{layer}.f16", np.float16, count, offset=first)
        return rows.reshape(-1, WIDTH)


def trusted(item: Utterance) -> bool:
    """Whether the teacher's tokens are worth learning from."""
    loops = len(item.tokens) > 8 and len(set(item.tokens)) < 0.5 * len(item.tokens)
    return item.score > -0.7 and not loops and item.frames > 0


class Plan(NamedTuple):
    """What a batch is made of: its recordings, and others to be heard behind them."""

    rows: list[tuple[Folder, Utterance]]
    others: list[tuple[Folder, Utterance]]


def order(paths: Sequence[Path], seconds: float, seed: int) -> Iterator[Plan]:
    """Epoch after epoch in random order, similar lengths together, ``seconds`` of sound each.

    What is labelled while a run goes on comes in with the next epoch.

    Raises:
        UsageError: there is no recording in the folders.
    """
    for epoch in itertools.count():
        dice = np.random.default_rng((seed, epoch))
        everything = [(folder, item) for folder in map(Folder, paths) for item in folder.items]
        if not everything:
            raise UsageError(
                f"No recordings in {', '.join(map(str, paths))}: label some there with python -m "
                "train.hearing.data."
            )
        shuffled = dice.permutation(len(everything))
        groups = []
        for start in range(0, len(shuffled), 64):
            window = sorted(shuffled[start : start + 64], key=lambda i: everything[i][1].frames)
            group: list[int] = []
            for i in window:
                if group and (len(group) + 1) * everything[i][1].frames > seconds * 50:
                    groups.append(group)
                    group = []
                group.append(i)
            groups.append(group)
        for g in dice.permutation(len(groups)):
            others = dice.integers(len(everything), size=OTHERS)
            yield Plan([everything[i] for i in groups[g]], [everything[i] for i in others])


def make(plan: Plan, dice: np.random.Generator, *, place: dict[int, int], truncate: float) -> Batch:
    """The batch of a plan.

    Args:
        place: of each of Whisper's tokens in the vocabulary that is kept.
        truncate: share of the recordings that are cut.
    """
    rows, others = plan.rows, [folder.sound(item) for folder, item in plan.others]
    count = len(rows)
    # Mostly little silence behind the sound; sometimes so much that a decoder would make words up.
    offset = 16 * int(dice.integers(BLOCK // 16))
    most = QUIET if dice.random() < 0.3 else 2
    longest = max(item.frames for _, item in rows) + 16 * most + 16
    pcm = np.zeros((count, longest * FRAME), np.float32)
    visible, compared, known = (np.zeros(count, np.int64) for _ in range(3))
    final, middle = (np.zeros((count, longest, WIDTH), np.float32) for _ in range(2))
    sequences, targets = [], []
    for b, (folder, item) in enumerate(rows):
        end, after = item.frames, int(dice.integers(most + 1))
        silent = np.pad(folder.sound(item), (0, 16 * after * FRAME))
        sound = augment(silent, others, dice)
        cut = item.frames > 48 and dice.random() < truncate
        if cut:
            end = int(dice.integers(32, item.frames))
            if dice.random() < 0.5:
                end, after = _chunk_end(end - 15), 0
            else:
                sound, after = sound[: end * FRAME], int(dice.integers(2))
        pcm[b, : len(sound)] = sound
        visible[b] = min(_chunk_end(end + 16 * after), longest)
        compared[b] = max(end - 2, 1)
        known[b] = item.frames
        final[b, : item.frames] = folder.features("final", item)
        middle[b, : item.frames] = folder.features("middle", item)
        tokens, wanted = _targets(item, end if cut else None, place)
        sequences.append(tokens)
        targets.append(wanted)
    n = max(len(tokens) for tokens in sequences)
    padded = np.full((count, n), place[END], np.int64)
    wanted_rows = np.full((count, n), IGNORE, np.int64)
    for b, (tokens, wanted) in enumerate(zip(sequences, targets, strict=True)):
        padded[b, : len(tokens)] = tokens
        wanted_rows[b, : len(wanted)] = wanted
    longest = int(-(-max(visible.max(), compared.max()) // 16) * 16)
    return Batch(
        torch.from_numpy(pcm[:, : longest * FRAME]),
        offset,
        *(torch.from_numpy(x) for x in (visible, compared, known, final, middle)),
        torch.from_numpy(padded),
        torch.from_numpy(wanted_rows),
    )


def _chunk_end(frame: int) -> int:
    """The first end of a chunk at or after ``frame``."""
    return -(-frame // 16) * 16


def _targets(
    item: Utterance, end: int | None, place: dict[int, int]
) -> tuple[list[int], list[int]]:
    """Input tokens and the token wanted after each, for sound that ends at frame ``end``."""
    tokens = [place.get(token, IGNORE) for token in item.tokens]
    heard, last = len(tokens), place[END]
    if end is not None:
        heard = sum(time <= end - HEARD for time in item.times)
        if heard < len(tokens) and item.times[heard] < end + UNHEARD:
            last = IGNORE
    if IGNORE in tokens[:heard]:
        heard, last = tokens.index(IGNORE), IGNORE
    prompt = [place[token] for token in PROMPT]
    if not trusted(item):
        return prompt, [IGNORE] * len(prompt)
    return prompt + tokens[:heard], [IGNORE] * (len(prompt) - 1) + tokens[:heard] + [last]


assert CHUNK == 16 * FRAME
