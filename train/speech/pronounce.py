"""The pre-network learns to pronounce, from text alone: characters to espeak's units by CTC.

A hundred thousand sentences teach more words than any amount of speech that a CPU can make, and
the alignment of characters and units that comes out of it tells which sound belongs to which
character. The decoder's training goes on from here.

    python -m train.speech.pronounce --work DIR --minutes 12
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from train import command
from train.run import Run
from train.speech import exported
from train.speech.alphabet import CHARACTERS, encode
from train.speech.modules import TextNetwork
from train.speech.phonemes import Phonemizer
from train.speech.synthesize import VOICE, held_out

SOURCES = ("answers", "templates", "dictionary")


@dataclass
class Lesson:
    """A text and how it is pronounced.

    Attributes:
        characters: int64 [n].
        units: int64 [m], from 1; 0 is CTC's blank.
    """

    characters: NDArray[np.int64]
    units: NDArray[np.int64]


class Units:
    """The units by id, from 1."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._ids = {name: i + 1 for i, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, names: list[str]) -> NDArray[np.int64] | None:
        """Ids, or None if there is an unknown unit."""
        if any(name not in self._ids for name in names):
            return None
        return np.array([self._ids[name] for name in names], np.int64)

    @classmethod
    def load(cls, work: Path) -> Units:
        """The units that :func:`prepare` found."""
        return cls(json.loads((work / "units.json").read_text()))


def marked(text: str) -> str:
    """A sentence with its beginning and end."""
    return f"^{text}$"


def fits(characters: NDArray[np.int64], units: NDArray[np.int64]) -> bool:
    """Whether two slots for each character can hold the units."""
    repeated = int((units[1:] == units[:-1]).sum())
    return len(units) + repeated <= 2 * len(characters)


def prepare(work: Path, limit: int) -> None:
    """Let espeak pronounce every sentence that is not kept for measuring."""
    voice = json.loads(VOICE.with_suffix(".onnx.json").read_text())
    phonemizer = Phonemizer(voice["phoneme_id_map"])
    texts = []
    for source in SOURCES:
        path = work / "texts" / f"{source}.txt"
        if path.exists():
            texts += path.read_text().splitlines()
    texts = [text for text in texts if not held_out(text)][:limit]
    said: list[tuple[str, list[str]]] = []
    counts: Counter[str] = Counter()
    for text in tqdm(texts, desc="espeak", mininterval=5):
        ids = phonemizer.ids(text)
        if ids:
            names = ["^", *(name for name, _ in phonemizer.units(ids)), "$"]
            said.append((text, names))
            counts.update(names)
    units = Units(sorted(name for name, count in counts.items() if count >= 20))
    (work / "units.json").write_text(json.dumps(units.names, ensure_ascii=False))
    lessons = []
    for text, names in said:
        characters, ids_ = encode(marked(text)), units.encode(names)
        if ids_ is not None and fits(characters, ids_):
            lessons.append(Lesson(characters, ids_))
    np.savez(
        work / "lessons.npz",
        characters=np.concatenate([x.characters for x in lessons]).astype(np.uint8),
        character_counts=np.array([len(x.characters) for x in lessons]),
        units=np.concatenate([x.units for x in lessons]).astype(np.uint8),
        unit_counts=np.array([len(x.units) for x in lessons]),
    )
    print(f"{len(lessons)} of {len(texts)} sentences, {len(units)} units", flush=True)


def load(work: Path) -> list[Lesson]:
    """The lessons that :func:`prepare` wrote."""
    with np.load(work / "lessons.npz") as data:
        characters = np.split(
            data["characters"].astype(np.int64), np.cumsum(data["character_counts"])[:-1]
        )
        units = np.split(data["units"].astype(np.int64), np.cumsum(data["unit_counts"])[:-1])
    return [Lesson(c, u) for c, u in zip(characters, units, strict=True)]


def padded(rows: list[NDArray[np.int64]]) -> Tensor:
    """Rows of different length as one tensor, 0 behind each."""
    return nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)


def ctc(logits: Tensor, lessons: list[Lesson]) -> Tensor:
    """CTC loss for each unit; logits [B, slots, units + 1]."""
    lengths = torch.tensor([2 * len(lesson.characters) for lesson in lessons])
    counts = torch.tensor([len(lesson.units) for lesson in lessons])
    targets = torch.from_numpy(np.concatenate([lesson.units for lesson in lessons]))
    targets = targets.to(logits.device)
    scores = logits.float().log_softmax(2).transpose(0, 1)
    total = functional.ctc_loss(
        scores, targets, lengths, counts, reduction="sum", zero_infinity=True
    )
    return total / counts.sum()


class Reading(NamedTuple):
    """A batch of lessons: their characters int64 [B, n], 0 behind each, and the lessons."""

    characters: Tensor
    lessons: list[Lesson]


def loss(network: TextNetwork, batch: Reading) -> Tensor:
    """How badly the network pronounces a batch."""
    slots, _ = network(batch.characters)
    return ctc(network.units(slots), batch.lessons)


class Batches:
    """Lessons of similar length together.

    Args:
        size: characters of a batch, padding included.
    """

    def __init__(self, lessons: list[Lesson], size: int) -> None:
        self._lessons = sorted(lessons, key=lambda lesson: len(lesson.characters))
        self._size = size

    def order(self, seed: int, easy: int = 0) -> Iterator[list[int]]:
        """The lessons of each batch, without end; the first ``easy`` have the shortest 5 %."""
        rng, count = random.Random(seed), len(self._lessons)
        for number in itertools.count():
            start = rng.randrange(max(1, int(count * 0.05) if number < easy else count))
            longest = len(self._lessons[start].characters)
            first = max(0, start - 3 * self._size // longest)
            near = range(first, start + 1)
            yield rng.sample(near, min(len(near), self._size // longest))

    def make(self, plan: list[int], dice: np.random.Generator) -> Reading:
        """A batch; nothing in it is random."""
        lessons = [self._lessons[i] for i in plan]
        return Reading(padded([lesson.characters for lesson in lessons]), lessons)


def errors(logits: Tensor, lessons: list[Lesson]) -> float:
    """Edit distance over the number of units, reading off the likeliest unit of each slot."""
    wrong = total = 0
    for row, lesson in zip(logits.argmax(2).cpu().numpy(), lessons, strict=True):
        row = row[: 2 * len(lesson.characters)]
        found = row[(row != 0) & (np.diff(row, prepend=0) != 0)]
        wrong += distance(found.tolist(), lesson.units.tolist())
        total += len(lesson.units)
    return wrong / total


def distance(a: list[int], b: list[int]) -> int:
    """Edit distance."""
    row = np.arange(len(b) + 1)
    for i, x in enumerate(a):
        change = row[:-1] + (np.array(b) != x)
        row = np.concatenate([[i + 1], np.minimum(change, row[1:] + 1)])
        row = np.minimum.accumulate(row - np.arange(len(row))) + np.arange(len(row))
    return int(row[-1])


def network(work: Path) -> TextNetwork:
    """A text network of the right size."""
    return TextNetwork(len(CHARACTERS), len(Units.load(work)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=200000)
    parser.add_argument("--bundle", type=Path, help="learn only to read units off its network")
    parser.add_argument("--batch", type=int, default=3072, help="characters of a batch")
    args = command.parse(parser)
    with command.first_alone():
        if not (args.work / "lessons.npz").exists():
            prepare(args.work, args.sentences)
    lessons = load(args.work)
    random.Random(args.seed).shuffle(lessons)
    check, lessons = lessons[:60], lessons[60:]
    batches = Batches(lessons, args.batch)
    model = network(args.work)
    if args.bundle:
        exported.fill(model, args.bundle, "text.")
        model.requires_grad_(False).units.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.98), weight_decay=0.02)
    training = Run(args.work / "pronounce.pt", model, optimiser, args)
    for batch in training.batches(batches.order(args.seed, easy=250), batches.make):
        value = training.forward(loss, batch)
        training.learn(value)
        training.tell(ctc=value)
        if training.main and training.step % 200 == 0:
            with torch.no_grad():
                slots, _ = model(padded([x.characters for x in check]).to(training.device))
                training.tell(errors=errors(model.units(slots), check))


if __name__ == "__main__":
    main()
