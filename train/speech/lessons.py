"""Batches for the decoder: sentences in a row, as a spoken answer has them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.speech.aligned import Aligned
from train.speech.codec import FRAMES
from train.speech.decoder import BEGIN
from train.speech.pronounce import Lesson


@dataclass
class Piece:
    """A text chunk as the decoder gets it: a sentence, or a part of one.

    Attributes:
        durations: [2 n], latent frames of each slot; their sum is even.
        hidden: [tokens, width] of the LLM, None where it is unknown or left out.
    """

    characters: NDArray[np.int64]
    units: NDArray[np.int64]
    durations: NDArray[np.int64]
    codes: NDArray[np.int64]
    hidden: NDArray[np.float16] | None = None

    @property
    def lesson(self) -> Lesson:
        """What the text network must pronounce."""
        return Lesson(self.characters, self.units[self.units > 0])


def whole(sentence: Aligned, hidden: NDArray[np.float16] | None) -> Piece:
    """A sentence as one piece."""
    return Piece(sentence.characters, sentence.units, sentence.durations, sentence.codes, hidden)


def cut(
    sentence: Aligned, hidden: NDArray[np.float16] | None, dice: np.random.Generator
) -> list[Piece]:
    """A sentence in two, before a space, as the first chunk of an answer may be.

    Hidden states are cut in the same proportion: where the LLM's tokens end is not kept.
    """
    uncut = [whole(sentence, hidden)]
    spaces = [i for i, c in enumerate(sentence.text, 1) if c == " "]
    if len(sentence.text) + 2 != len(sentence.characters) or not spaces:
        return uncut
    at = int(dice.choice(spaces))
    durations = sentence.durations.copy()
    ends = np.flatnonzero(durations[: 2 * at])
    if len(ends) == 0 or durations[2 * at :].sum() < 8:
        return uncut
    # The cut falls between two codes: an odd frame goes to the other side.
    odd = durations[: 2 * at].sum() % FRAMES
    durations[ends[-1]] -= odd
    durations[2 * at] += odd
    code = durations[: 2 * at].sum() // FRAMES
    if code < 4:
        return uncut
    token = 0 if hidden is None else round(len(hidden) * at / len(sentence.characters))
    return [
        Piece(
            sentence.characters[:at],
            sentence.units[: 2 * at],
            durations[: 2 * at],
            sentence.codes[:code],
            None if hidden is None else hidden[:token],
        ),
        Piece(
            sentence.characters[at:],
            sentence.units[2 * at :],
            durations[2 * at :],
            sentence.codes[code:],
            None if hidden is None else hidden[token:],
        ),
    ]


PREFIXED = 0.7
"""Share of sentences with the LLM's hidden states: the voice must also do without them."""
GAP = 2
"""Places of padding between texts in one row, so that convolutions see nothing of the next."""


class Batch(NamedTuple):
    """Rows of pieces.

    Attributes:
        lessons: what each row's text is pronounced like.
        characters: [B, n], 0 in the gaps.
        text_mask: [B, 1, n, n]: a character sees its own piece alone.
        durations: [B, 2 n] in codes; a gap has GAP codes.
        there: [B, F, 1], 0 for the codes of a gap.
        where: [B, T], the place of each code among the F.
        codes: [B, T], -100 in the padding.
        previous: [B, T].
        hidden: [B, P, width], the hidden states of each row's pieces, one behind the other.
        prefix_there: [B, 1, P, P], 0 or -1e4: a hidden state sees those of its own piece alone.
        prefix_mask: [B, 1, T, P]: a code sees the prefix of its own piece alone.
    """

    lessons: list[Lesson]
    characters: Tensor
    text_mask: Tensor
    durations: Tensor
    there: Tensor
    where: Tensor
    codes: Tensor
    previous: Tensor
    hidden: Tensor
    prefix_there: Tensor
    prefix_mask: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved = {n: v.to(device) for n, v in self._asdict().items() if isinstance(v, Tensor)}
        return self._replace(**moved)


def collate(rows: list[list[Piece]], width: int) -> Batch:
    """Put rows of pieces into tensors; ``width`` is the LLM's."""
    count = len(rows)
    letters = max(sum(len(p.characters) + GAP for p in row) for row in rows)
    time = max(sum(len(p.codes) for p in row) for row in rows)
    frames = max(sum(len(p.codes) + GAP for p in row) for row in rows)
    prefixes = [sum(len(p.hidden) for p in row if p.hidden is not None) for row in rows]
    most = max(1, *prefixes)
    characters = np.zeros((count, letters), np.int64)
    owner = np.full((count, letters), -1)
    durations = np.zeros((count, 2 * letters), np.float32)
    there = np.zeros((count, frames, 1), np.float32)
    where = np.zeros((count, time), np.int64)
    codes = np.full((count, time), -100, np.int64)
    hidden = np.zeros((count, most, width), np.float32)
    thinker = np.full((count, most), -1)
    prefix_mask = np.full((count, 1, time, most), -1e4, np.float32)
    for r, row in enumerate(rows):
        c = t = f = p = 0
        for number, piece in enumerate(row):
            n, k = len(piece.characters), len(piece.codes)
            characters[r, c : c + n] = piece.characters
            owner[r, c : c + n] = number
            durations[r, 2 * c : 2 * (c + n)] = piece.durations / FRAMES
            durations[r, 2 * (c + n)] = GAP
            there[r, f : f + k] = 1
            where[r, t : t + k] = np.arange(f, f + k)
            codes[r, t : t + k] = piece.codes
            if piece.hidden is not None:
                hidden[r, p : p + len(piece.hidden)] = piece.hidden
                thinker[r, p : p + len(piece.hidden)] = number
                prefix_mask[r, 0, t : t + k, p : p + len(piece.hidden)] = 0
                p += len(piece.hidden)
            c, t, f = c + n + GAP, t + k, f + k + GAP
    text_mask = np.where(owner[:, None, :, None] == owner[:, None, None], 0, -1e4)
    prefix_there = np.where(thinker[:, None, :, None] == thinker[:, None, None], 0, -1e4)
    previous = np.concatenate([np.full((count, 1), BEGIN), codes[:, :-1].clip(0)], 1)
    return Batch(
        [_joined(row, letters) for row in rows],
        torch.from_numpy(characters),
        torch.from_numpy(text_mask.astype(np.float32)),
        torch.from_numpy(durations),
        torch.from_numpy(there),
        torch.from_numpy(where),
        torch.from_numpy(codes),
        torch.from_numpy(previous),
        torch.from_numpy(hidden),
        torch.from_numpy(prefix_there.astype(np.float32)),
        torch.from_numpy(prefix_mask),
    )


def _joined(row: list[Piece], letters: int) -> Lesson:
    """A row as one lesson of ``letters`` characters."""
    units = np.concatenate([piece.units[piece.units > 0] for piece in row])
    return Lesson(np.zeros(letters, np.int64), units)


class Rows:
    """Batches of sentences in a row.

    Args:
        hidden: the LLM's hidden states by sentence.
        share: of the sentences that get them; the decoder must do without as well.
        length: codes of a row at most; longer sentences are left out.
        count: rows of a batch.
    """

    def __init__(
        self,
        sentences: list[Aligned],
        hidden: Mapping[str, NDArray[np.float16]],
        *,
        share: float = PREFIXED,
        length: int = 384,
        count: int = 7,
        width: int = 576,
    ) -> None:
        self._sentences = [s for s in sentences if len(s.codes) <= length]
        self._hidden, self._share = hidden, share
        self._length, self._count, self._width = length, count, width

    def order(self, seed: int) -> Iterator[list[list[int]]]:
        """The sentences of each row of each batch, without end; each comes once in an epoch."""
        rng = random.Random(seed)
        left: list[int] = []
        while True:
            yield [self._row(left, rng) for _ in range(self._count)]

    def make(self, plan: list[list[int]], dice: np.random.Generator) -> Batch:
        """The batch of such rows: some sentences cut, some with the LLM's hidden states."""
        rows = [[p for i in row for p in self._pieces(self._sentences[i], dice)] for row in plan]
        return collate(rows, self._width)

    def _row(self, left: list[int], rng: random.Random) -> list[int]:
        row: list[int] = []
        room = self._length
        while (chosen := self._draw(left, room, rng)) is not None:
            row.append(chosen)
            room -= len(self._sentences[chosen].codes)
        return row

    def _draw(self, left: list[int], room: int, rng: random.Random) -> int | None:
        """One of the next sentences: at the end of a row the one that fills it best."""
        while len(left) < 32:
            fresh = list(range(len(self._sentences)))
            rng.shuffle(fresh)
            left[:0] = fresh
        near = [(len(self._sentences[i].codes), -k) for k, i in enumerate(left[-32:])]
        fitting = [item for item in near if item[0] <= room]
        if not fitting:
            return None
        place = -32 - max(fitting)[1] if room < self._length // 2 else -32 - fitting[-1][1]
        return left.pop(place)

    def _pieces(self, sentence: Aligned, dice: np.random.Generator) -> list[Piece]:
        given = dice.random() < self._share
        hidden = self._hidden.get(sentence.text) if given else None
        if dice.random() < 0.35:
            return cut(sentence, hidden, dice)
        return [whole(sentence, hidden)]
