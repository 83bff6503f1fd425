"""Teach the adapter what to add to its embeddings, through the frozen LLM.

The LLM that reads a question's text is the teacher of the same LLM that hears it: a small network
turns the adapter's hidden states into a residual of its soft embeddings, so that the distributions
over the words of the LLM's own answer come close (Kullback-Leibler divergence). The residual begins
at zero. Questions kept aside tell when to stop, and others of them whether it helps.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_omni.bundle import Bundle
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph
from edge_omni.spelling import Spelling
from edge_omni.token_search import TokenSearch
from train.batched import BatchedLLM, batches
from train.fit import fit
from train.llama import Llama, Past

ANSWER = 16
"""Tokens of an answer that teach: the first ones, which the question decides most."""
LIKELY = 64
"""The teacher's likeliest tokens are kept one by one, all others together."""
BATCH = 8


class Residual(nn.Module):
    """Hidden states [B, n, width] to what is added to the embeddings [B, n, llm_width].

    Args:
        scale: of the LLM's embeddings, so that one learning rate suits every LLM.
        inner: small, since there is little to learn from.
    """

    def __init__(self, width: int, llm_width: int, scale: float = 1.0, inner: int = 48) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, llm_width)
        self.register_buffer("scale", torch.tensor(scale))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.outer(functional.gelu(self.inner(self.norm(hidden)))) * self.scale
        return y


@dataclass
class Lesson:
    """One question.

    Attributes:
        text: what was said.
        tokens: the LLM's tokens of it.
        answer: the LLM's tokens of its own answer to it.
        rows: soft embeddings float32 [n, llm_width] that the adapter hears.
        hidden: the adapter's hidden states float32 [n, width].
        likely: int64 [answer, LIKELY], the tokens that the LLM holds for likeliest after reading.
        weights: float32 [answer, LIKELY], their probabilities.
    """

    text: str
    tokens: list[int]
    answer: list[int]
    rows: Tensor
    hidden: Tensor
    likely: Tensor
    weights: Tensor


class Ear:
    """The hearing graphs of a bundle, and what an LLM is given of a whole recording."""

    def __init__(self, bundle: Bundle, llm: BatchedLLM) -> None:
        settings = bundle.manifest.adapter.settings
        self._encoder = Encoder(Graph(bundle.path("encoder")), bundle.manifest.encoder)
        self._spelling = Spelling(bundle.folder / settings["vocabulary"], llm)
        memory, step = (Graph(bundle.path(role)) for role in ("adapter_memory", "adapter_step"))
        self._search = TokenSearch(memory, step, self._spelling, settings)

    def __call__(self, pcm: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Soft embeddings [n, llm_width] and hidden states [n, width]; n is 0 for no words."""
        self._encoder.reset()
        self._search.reset()
        self._search.add(self._encoder.push(pcm))
        self._search.add(self._encoder.flush())
        heard, _ = self._search.advance(final=True)
        rows = [
            self._spelling.expectation(item.likely, item.weights, first=i == 0)
            for i, item in enumerate(heard)
        ]
        if not rows:
            return torch.empty(0, self._spelling.width), torch.empty(0, 0)
        return torch.from_numpy(np.stack(rows)), torch.from_numpy(
            np.stack([item.hidden for item in heard])
        )


class Teacher:
    """The frozen LLM in torch, with the layout of its chat around the lessons."""

    def __init__(self, llama: Llama, opening: list[int], header: list[int]) -> None:
        self.llama, self._header = llama, header
        self._opening: Past = llama.past(opening)

    def scores(self, users: Sequence[Tensor], answers: Sequence[list[int]]) -> Tensor:
        """Log probabilities [B, longest answer, vocabulary] of the words of each answer.

        Args:
            users: what stands in the user's turn: embeddings [n, width].
        """
        table, device = self.llama.embeddings, self.llama.device
        most = max(len(answer) for answer in answers)
        rows = [
            torch.cat([user.to(device, table.dtype), table[[*self._header, *answer[:-1]]]])
            for user, answer in zip(users, answers, strict=True)
        ]
        # Answers end together: shorter ones are filled behind, shorter questions in front.
        rows = [
            functional.pad(row, (0, 0, 0, most - len(answer)))
            for row, answer in zip(rows, answers, strict=True)
        ]
        longest = max(len(row) for row in rows)
        x = torch.stack([functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        shown = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows])
        return self.llama(x, shown.to(device), most, self._opening).log_softmax(-1)

    def divergences(self, residual: nn.Module | None, lessons: Sequence[Lesson]) -> Tensor:
        """Divergence of each answer's words, heard from read: [lessons], mean of the words."""
        device = self.llama.device
        heard = [lesson.rows.to(device) for lesson in lessons]
        if residual is not None:
            heard = [
                row + residual(lesson.hidden.to(device))
                for row, lesson in zip(heard, lessons, strict=True)
            ]
        said = self.scores(heard, [lesson.answer for lesson in lessons])
        found = []
        for lesson, scores in zip(lessons, said, strict=True):
            weights = lesson.weights.to(device)
            likely = scores[: len(weights)].gather(1, lesson.likely.to(device))
            found.append(_divergence(weights, likely).mean())
        return torch.stack(found)


def _divergence(weights: Tensor, scores: Tensor) -> Tensor:
    """Of log probabilities [n, k] from probabilities [n, k], the rest of each as one more."""
    rest = (1 - weights.sum(1)).clamp_min(1e-6)
    said_rest = (1 - scores.exp().sum(1)).clamp_min(1e-6)
    likely = weights * (weights.clamp_min(1e-9).log() - scores)
    return likely.sum(1) + rest * (rest.log() - said_rest.log())


def prepare(
    heard: Sequence[tuple[str, Tensor, Tensor]], llm: BatchedLLM, teacher: Teacher
) -> list[Lesson]:
    """Lessons of texts and what :class:`Ear` gives of them: the LLM answers, and teaches."""
    tokens = [llm.tokenize(text) for text, _, _ in heard]
    lessons = []
    for span in batches([len(t) + len(llm.header) for t in tokens], most=16):
        answers = llm.write(tokens[span], ANSWER)
        with torch.no_grad():
            users = [teacher.llama.embeddings[t] for t in tokens[span]]
            read = teacher.scores(users, answers)
        for (text, rows, hidden), user, answer, scores in zip(
            heard[span], tokens[span], answers, read, strict=True
        ):
            weights, likely = scores[: len(answer)].exp().topk(LIKELY)
            lessons.append(Lesson(text, user, answer, rows, hidden, likely.cpu(), weights.cpu()))
    return lessons


def save(path: Path, lessons: Sequence[Lesson]) -> None:
    """Write one shard."""
    partial = path.with_suffix(".part")
    torch.save([asdict(lesson) for lesson in lessons], partial)
    partial.rename(path)


def load(folder: Path) -> list[Lesson]:
    """The lessons in the shards of ``folder``."""
    shards = (torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt")))
    return [Lesson(**lesson) for shard in shards for lesson in shard]


def split(lessons: Sequence[Lesson]) -> tuple[list[Lesson], list[Lesson], list[Lesson]]:
    """Lessons to train on, to stop by and to judge by (a tenth each), by their texts alone."""
    parts: tuple[list[Lesson], list[Lesson], list[Lesson]] = ([], [], [])
    for lesson in lessons:
        place = zlib.crc32(lesson.text.lower().encode()) % 10
        parts[place if place in (1, 2) else 0].append(lesson)
    return parts


@torch.no_grad()
def measure(teacher: Teacher, residual: nn.Module | None, lessons: Sequence[Lesson]) -> Tensor:
    """Divergence of each lesson: [lessons]."""
    groups = [lessons[i : i + BATCH] for i in range(0, len(lessons), BATCH)]
    return torch.cat([teacher.divergences(residual, group) for group in groups]).cpu()


def train(
    teacher: Teacher,
    lessons: Sequence[Lesson],
    aside: Sequence[Lesson],
    path: Path,
    *,
    seconds: float,
    every: int = 25,
    seed: int = 0,
) -> Residual:
    """A residual for the teacher's LLM, as it measured best on ``aside``."""
    torch.manual_seed(seed)
    table = teacher.llama.embeddings
    scale = float(table[:1000].float().std())
    residual = Residual(lessons[0].hidden.shape[1], table.shape[1], scale).to(table.device)

    def choose(number: int, dice: np.random.Generator) -> list[int]:
        chosen = dice.choice(len(lessons), min(BATCH, len(lessons)), replace=False)
        return [int(i) for i in chosen]

    fit(
        residual, itertools.count(), choose,
        lambda chosen: teacher.divergences(residual, [lessons[i] for i in chosen]).mean(),
        lambda: float(measure(teacher, residual, aside).mean()), path,
        seconds=seconds, rate=1e-3, every=every,
    )  # fmt: skip
    return residual
