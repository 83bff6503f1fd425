"""Text, sound and their alignment: what the decoder learns from.

The pronunciation that the text network has learnt tells, by CTC's best path, at which slot each
unit is said; the voice tells how long each unit lasts. Together: the duration of every slot, known
and exact, so that the decoder never has to find the alignment itself.

    python -m train.speech.aligned --work DIR
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from train import checkpoint
from train.speech import codec, pronounce, synthesize
from train.speech.alphabet import encode
from train.speech.codec import FRAMES
from train.speech.modules import TextNetwork
from train.speech.phonemes import Phonemizer

PAUSE = 14
"""Latent frames (0.16 s) of silence after each sentence, which the voice itself leaves out."""


@dataclass
class Aligned:
    """One sentence.

    Attributes:
        characters: int64 [n].
        units: int64 [2 n], the unit said at each slot, 0 where none begins.
        durations: int64 [2 n], latent frames of each slot.
        codes: int64 [sum of durations / 2].
    """

    text: str
    characters: NDArray[np.int64]
    units: NDArray[np.int64]
    durations: NDArray[np.int64]
    codes: NDArray[np.int64]


def best_path(scores: NDArray[np.float32], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """The slot at which each unit begins on the likeliest CTC path.

    Args:
        scores: [slots, units + 1] log probabilities, 0 is the blank.
        units: [m].
    """
    slots, m = len(scores), len(units)
    labels = np.zeros(2 * m + 1, np.int64)
    labels[1::2] = units
    # A blank may be left out between two units that differ.
    skips = np.zeros(2 * m + 1, bool)
    skips[3::2] = units[1:] != units[:-1]
    best = np.full(2 * m + 1, -np.inf)
    best[:2] = scores[0, labels[:2]]
    came = np.zeros((slots, 2 * m + 1), np.int8)
    for slot in range(1, slots):
        options = np.full((3, 2 * m + 1), -np.inf)
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        came[slot] = options.argmax(0)
        best = options.max(0) + scores[slot, labels]
    place = 2 * m if best[2 * m] > best[2 * m - 1] else 2 * m - 1
    begins = np.zeros(m, np.int64)
    for slot in range(slots - 1, -1, -1):
        if place % 2:
            begins[place // 2] = slot
        place -= int(came[slot, place])
    return begins


def lasts(utterance: synthesize.Utterance, counts: list[int]) -> NDArray[np.int64]:
    """Latent frames of each unit, beginning and end included; ``counts`` are the ids of each."""
    each = utterance.durations.astype(np.int64)
    pairs = each[2:-1].reshape(-1, 2).sum(1)
    inner = np.add.reduceat(pairs, np.cumsum([0, *counts[:-1]]))
    return np.concatenate([[each[:2].sum()], inner, [each[-1]]])


def silence(latents: NDArray[np.float16]) -> NDArray[np.float16]:
    """The pause after a sentence, and the frame that makes the number of frames even."""
    count = PAUSE + (len(latents) + PAUSE) % FRAMES
    return np.repeat(latents[-1:], count, 0)


class Aligner:
    """Aligns what the voice said.

    Args:
        work: holds the trained codec and text network.
    """

    def __init__(self, work: Path, voice: synthesize.Voice) -> None:
        self._codec = codec.load(work)
        self._units = pronounce.Units.load(work)
        self._network: TextNetwork = pronounce.network(work)
        self._network.load_state_dict(checkpoint.read(work / "pronounce.pt")["model"])
        self._network.eval()
        self._phonemizer: Phonemizer = voice.phonemizer

    @torch.no_grad()
    def __call__(self, utterance: synthesize.Utterance) -> Aligned | None:
        """Align one utterance; None if it has a rare unit or more units than slots."""
        named = self._phonemizer.units(utterance.ids.tolist())
        units = self._units.encode(["^", *(name for name, _ in named), "$"])
        characters = encode(pronounce.marked(utterance.text))
        if units is None or not pronounce.fits(characters, units):
            return None
        slots, _ = self._network(torch.from_numpy(characters)[None])
        scores = self._network.units(slots)[0].log_softmax(1).numpy()
        begins = best_path(scores, units)
        added = silence(utterance.latents)
        durations = np.zeros(len(scores), np.int64)
        durations[begins] = lasts(utterance, [count for _, count in named])
        durations[begins[-1]] += len(added)
        said = np.zeros(len(scores), np.int64)
        said[begins] = units
        latents = np.concatenate([utterance.latents, added]).astype(np.float32)
        codes = self._codec.encode(torch.from_numpy(latents.T[None]))[0].numpy()
        return Aligned(utterance.text, characters, said, durations, codes)


def save(path: Path, sentences: list[Aligned]) -> None:
    """Write one shard."""
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        texts=np.array([s.text for s in sentences]),
        lengths=np.array([len(s.characters) for s in sentences]),
        characters=np.concatenate([s.characters for s in sentences]).astype(np.uint8),
        units=np.concatenate([s.units for s in sentences]).astype(np.uint8),
        durations=np.concatenate([s.durations for s in sentences]).astype(np.uint16),
        counts=np.array([len(s.codes) for s in sentences]),
        codes=np.concatenate([s.codes for s in sentences]).astype(np.uint16),
    )
    partial.rename(path)


def load(path: Path) -> list[Aligned]:
    """Read one shard."""
    with np.load(path) as data:
        ends = np.cumsum(data["lengths"])[:-1]
        return [
            Aligned(str(text), *(part.astype(np.int64) for part in parts))
            for text, *parts in zip(
                data["texts"],
                np.split(data["characters"], ends),
                np.split(data["units"], 2 * ends),
                np.split(data["durations"], 2 * ends),
                np.split(data["codes"], np.cumsum(data["counts"])[:-1]),
                strict=True,
            )
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.work / "aligned"
    folder.mkdir(exist_ok=True)
    aligner = Aligner(args.work, synthesize.Voice(args.work))
    for source in tqdm(sorted((args.work / "latents").glob("*-????.npz")), desc="align"):
        path = folder / source.name
        if not path.exists():
            found = [aligner(utterance) for utterance in synthesize.load(source)]
            save(path, [sentence for sentence in found if sentence is not None])


if __name__ == "__main__":
    main()
