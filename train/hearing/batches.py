"""Batches for distillation: augmented sound, the teacher's features, tokens and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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


@dataclass
class Batch:
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
    """A data folder of :mod:`train.hearing.data`, opened for reading."""

    def __init__(self, path: Path) -> None:
        self.items = load_index(path)
        self.pcm = np.memmap(path / "pcm.i16", np.int16, "r")
        self.final = np.memmap(path / "final.f16", np.float16, "r").reshape(-1, WIDTH)
        self.middle = np.memmap(path / "middle.f16", np.float16, "r").reshape(-1, WIDTH)

    def sound(self, item: Utterance) -> np.ndarray:
        """PCM float32 of one utterance."""
        return self.pcm[item.start : item.start + item.samples].astype(np.float32) / 32768


def trusted(item: Utterance) -> bool:
    """Whether the teacher's tokens are worth learning from."""
    loops = len(item.tokens) > 8 and len(set(item.tokens)) < 0.5 * len(item.tokens)
    return item.score > -0.7 and not loops and item.frames > 0


def batches(
    folders: Sequence[Folder],
    kept: Sequence[int],
    seconds: float,
    truncate: float,
    dice: np.random.Generator,
) -> Iterator[Batch]:
    """One epoch in random order, similar lengths together, ``seconds`` of sound each."""
    everything = [(folder, item) for folder in folders for item in folder.items]
    order = dice.permutation(len(everything))
    place = {token: i for i, token in enumerate(kept)}
    groups = []
    for start in range(0, len(order), 64):
        window = sorted(order[start : start + 64], key=lambda i: everything[i][1].frames)
        group: list[int] = []
        for i in window:
            if group and (len(group) + 1) * everything[i][1].frames > seconds * 50:
                groups.append(group)
                group = []
            group.append(i)
        groups.append(group)
    for g in dice.permutation(len(groups)):
        rows = [everything[i] for i in groups[g]]
        others = [everything[i] for i in dice.integers(len(everything), size=OTHERS)]
        behind = [folder.sound(item) for folder, item in others]
        yield _batch(rows, behind, place, truncate, dice)


def _batch(
    rows: Sequence[tuple[Folder, Utterance]],
    others: Sequence[np.ndarray],
    place: dict[int, int],
    truncate: float,
    dice: np.random.Generator,
) -> Batch:
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
        final[b, : item.frames] = folder.final[item.first : item.first + item.frames]
        middle[b, : item.frames] = folder.middle[item.first : item.first + item.frames]
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
