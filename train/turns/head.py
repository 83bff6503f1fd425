"""Train the state head on what was heard in scenes.

    python -m train.turns.head --data DIR... --out RUN [--llm] [--seed N]
    python -m train.turns.head --data DIR... --out RUN --mean RUN/*.head.pt

The general head looks at sound, at the adapter's hidden states and at facts; with ``--llm`` it
looks at the LLM's hidden state too, and then belongs to that LLM. A tenth of the scenes tells when
to stop, and as many others what the head is worth; the second command tells what several are worth
that judge together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from train import checkpoint
from train.fit import fit
from train.speech.exported import weights
from train.turns.scenes import ANSWER, IGNORE, LISTEN, SHARES, Points, load

SHORTEST, LONGEST = 0.2, 1.6
"""Seconds of silence: pauses of people that go on are taken to be evenly spread between these."""
BATCH, TURNS = 64, 0.3
"""Points of a batch, and the least share of them in which the user has the floor."""
NOISE, ROWS, INPUTS, INNER = 1.0, 0.3, 0.3, 0.3
"""Disturbances in training: noise on the rows, shares of rows, inputs and inner values left out."""
FACTS = 5
SILENCE, OVER = 0, 2
"""Places among them."""
EVIDENCE, FALLS = 0.75, 0.6
"""Rules of the dialogue that the curves are drawn by: `evidence`, and `answer_falls`."""


def goes_on(silence: Tensor) -> Tensor:
    """The share of pauses that are longer than ``silence`` seconds."""
    return ((LONGEST - silence) / (LONGEST - SHORTEST)).clamp(0.02, 1.0)


class Pool(nn.Module):
    """The last rows of something [B, n, width], rows of zeros left out, to one vector [B, inner].

    Convolution, then attention that knows how far from the end a row is.
    """

    def __init__(self, width: int, rows: int, inner: int, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, inner)
        self.mix = nn.Conv1d(inner, inner, 3, padding=1)
        self.score = nn.Linear(inner, heads)
        self.place = nn.Parameter(torch.zeros(rows, heads))
        self.leave = nn.Linear(heads * inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        there = x.abs().sum(-1, keepdim=True) > 0
        x = self.norm(x)
        if self.training:  # there are fewer scenes than ways to tell them apart
            x = x + NOISE * torch.randn_like(x)
            there = there & (torch.rand_like(there, dtype=x.dtype) > ROWS)
        y = functional.gelu(self.enter(functional.dropout(x, INPUTS, self.training)))
        y = y * there
        y = y + functional.gelu(self.mix(y.transpose(1, 2)).transpose(1, 2))
        scores = self.score(y) + self.place - 1e4 * (~there).float()
        pooled = torch.einsum("bnh,bni->bhi", scores.softmax(1), y).flatten(1)
        z: Tensor = functional.gelu(self.leave(pooled))
        return z


class StateHead(nn.Module):
    """Evidence to scores of the three states; see :class:`edge_omni.state_head.StateHead`.

    What a pause is, is told when it begins; as it lasts, only the odds change, by what is known of
    the length of pauses. Over the assistant's answer the LLM is not asked.

    Args:
        llm_width: of the LLM's hidden state; 0 for the head that needs no particular LLM.
    """

    def __init__(
        self, width: int, frames: int, tokens: int, llm_width: int = 0, inner: int = 64
    ) -> None:
        super().__init__()
        self.frames = Pool(width, frames, inner)
        self.hidden = Pool(width, tokens, inner)
        self.llm = None
        if llm_width:
            self.llm = nn.Sequential(
                nn.LayerNorm(llm_width), nn.Dropout(0.3), nn.Linear(llm_width, inner), nn.GELU()
            )
        seen = (3 if llm_width else 2) * inner
        self.middle = nn.Linear(seen + FACTS, inner)
        self.out = nn.Linear(inner + FACTS, 3)

    def forward(
        self, frames: Tensor, hidden: Tensor, facts: Tensor, llm: Tensor | None = None
    ) -> Tensor:
        """Scores [B, 3]; ``facts`` [B, 5], ``llm`` [B, llm_width] is not looked at without one."""
        over = facts[:, OVER : OVER + 1]
        seen = [self.frames(frames), self.hidden(hidden)]
        if self.llm is not None:
            seen.append((1 - over) * self.llm(llm))
        silence = facts[:, SILENCE : SILENCE + 1].exp() - 1
        start = torch.full_like(silence, math.log1p(SHORTEST))
        facts = torch.cat([over * facts[:, :1] + (1 - over) * start, facts[:, 1:]], 1)
        x = functional.dropout(torch.cat(seen, 1), INNER, self.training)
        x = functional.gelu(self.middle(torch.cat([x, facts], 1)))
        y: Tensor = self.out(torch.cat([x, facts], 1))
        # The longer a pause, the fewer of those who go on are left.
        left = (1 - over) * goes_on(silence).log()
        return torch.cat([y[:, :1] + left, y[:, 1:]], 1)


class Mean(nn.Module):
    """Several heads that judge together: the mean of their scores errs less than each of them."""

    def __init__(self, heads: Sequence[StateHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(
        self, frames: Tensor, hidden: Tensor, facts: Tensor, llm: Tensor | None = None
    ) -> Tensor:
        """See :class:`StateHead`."""
        told = [head(frames, hidden, facts, llm).log_softmax(-1) for head in self.heads]
        return torch.stack(told).mean(0)


def build(named: Mapping[str, Tensor]) -> StateHead:
    """The head that these weights are of."""
    inner, width = named["frames.enter.weight"].shape
    head = StateHead(
        width,
        len(named["frames.place"]),
        len(named["hidden.place"]),
        len(named["llm.0.weight"]) if "llm.0.weight" in named else 0,
        inner,
    )
    head.load_state_dict(named)
    return head.eval()


def exported(path: Path) -> list[StateHead]:
    """The heads that a graph was exported from."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights(path).items():
        number, inside = name.removeprefix("head.heads.").split(".", 1)
        parts.setdefault(number, {})[inside] = value
    return [build(named) for named in parts.values()]


def split(points: Points) -> tuple[Points, Points, Points]:
    """Points to train on, to stop by and to judge by: whole scenes, a tenth each."""
    place = points.scene % 10
    return _take(points, place > 1), _take(points, place == 0), _take(points, place == 1)


def _take(points: Points, chosen: Tensor) -> Points:
    """Some of them."""
    return Points(**{f.name: getattr(points, f.name)[chosen] for f in fields(Points)})


def stopping(points: Points) -> Points:
    """The points as they are, and what was said over the answer once more as it would be judged if
    it had stopped that: as a turn of the user's, in the silence behind it."""
    behind = (points.facts[:, OVER] == 1) & (
        points.facts[:, SILENCE] >= math.log1p(SHORTEST) - 1e-4
    )
    parts = {f.name: getattr(points, f.name) for f in fields(Points)}
    again = {name: part[behind] for name, part in parts.items()}
    again["facts"] = again["facts"].clone()
    again["facts"][:, OVER] = 0
    return Points(**{name: torch.cat([part, again[name]]) for name, part in parts.items()})


def scores(head: nn.Module, points: Points, chosen: Tensor, silence: float | None = None) -> Tensor:
    """Scores [n, 3] of the chosen points, after ``silence`` seconds where the user may go on."""
    facts = points.facts[chosen]
    if silence is not None:
        over = facts[:, OVER] > 0
        seconds = torch.where(over, facts[:, SILENCE], facts.new_tensor(silence).log1p())
        facts = torch.cat([seconds[:, None], facts[:, 1:]], 1)
    return head(
        points.frames[chosen].float(),
        points.hidden[chosen].float(),
        facts,
        points.llm[chosen].float(),
    )


def loss(head: nn.Module, points: Points, chosen: Tensor) -> Tensor:
    """Cross entropy when a silence has just begun, or in the midst of speech over the answer."""
    told = scores(head, points, chosen, SHORTEST)
    return functional.cross_entropy(told, points.label[chosen], label_smoothing=0.02)


@torch.no_grad()
def measure(head: nn.Module, points: Points, silence: float | None = None) -> Tensor:
    """Probabilities [n, 3] of all points, after ``silence`` seconds where the user may go on."""
    head.eval()
    parts = torch.arange(len(points)).split(256)
    return torch.cat([scores(head, points, chosen, silence).softmax(-1) for chosen in parts])


def train(
    points: Points,
    aside: Points,
    path: Path,
    *,
    llm: bool,
    seconds: float,
    seed: int = 0,
    begin: StateHead | None = None,
) -> StateHead:
    """A head as it measured best on ``aside``, new or begun with another's weights."""
    torch.manual_seed(seed)
    _, frames, width = points.frames.shape
    llm_width = points.llm.shape[1] if llm else 0
    head = begin or StateHead(width, frames, points.hidden.shape[1], llm_width)

    turn = np.flatnonzero((points.facts[:, OVER] == 0).numpy())

    def choose(number: int, dice: np.random.Generator) -> Tensor:
        some = dice.choice(turn, round(TURNS * BATCH))
        rest = dice.choice(len(points), BATCH - len(some))
        return torch.from_numpy(np.concatenate([some, rest]))

    def one(chosen: Tensor) -> Tensor:
        head.train()
        return loss(head, points, chosen)

    @torch.no_grad()
    def look() -> float:
        head.eval()
        parts = torch.arange(len(aside)).split(256)
        return float(np.mean([float(loss(head, aside, chosen)) for chosen in parts]))

    fit(
        head, itertools.count(), choose, one, look, path,
        seconds=seconds, rate=3e-4 if begin else 1e-3, every=200, patience=10,
    )  # fmt: skip
    return head.eval()


def report(head: nn.Module, points: Points) -> dict[str, float]:
    """What a head is worth, as areas under curves and shares of points."""
    after = measure(head, points, 0.3)
    turn = points.facts[:, 2] == 0
    over = ~turn
    figures = {
        "points": float(len(points)),
        "answer_from_listen": _area(
            after[turn & (points.label == ANSWER), 1], after[turn & (points.label == LISTEN), 1]
        ),
        "ignore_from_answer": _area(
            after[turn & (points.label == IGNORE), 2], after[turn & (points.label == ANSWER), 2]
        ),
        "over_ignore": _area(
            after[over & (points.label == IGNORE), 2], after[over & (points.label != IGNORE), 2]
        ),
    }
    early = over & (points.facts[:, 1].expm1() < 0.3)
    figures["over_ignore_early"] = _area(
        after[early & (points.label == IGNORE), 2], after[early & (points.label != IGNORE), 2]
    )
    for number, kind in enumerate(SHARES):
        chosen = over & (points.kind == number)
        if chosen.any():
            figures[f"over_{kind.replace(' ', '_')}"] = float(
                (after[chosen, 2] < 0.3).float().mean()
            )
    return {name: round(value, 4) for name, value in figures.items()}


THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


def curve(head: nn.Module, points: Points) -> list[dict[str, float]]:
    """What each threshold of ``answer`` would do where the user has the floor, falling with the
    silence by ``FALLS``.

    Returns:
        For each threshold the share of pauses that would be taken over, pauses being as long as in
        :func:`goes_on`, and the shares of turns answered within so many seconds of silence.
    """
    turn = (points.facts[:, 2] == 0) & (points.facts[:, 0] > 0)
    seconds = torch.arange(SHORTEST, LONGEST + 0.01, 0.1)
    told = torch.stack([measure(head, points, float(s))[:, 1] for s in seconds], 1)[turn]
    told = told + FALLS * (seconds - SHORTEST) / (LONGEST - SHORTEST)
    label = points.label[turn]
    found = []
    for threshold in THRESHOLDS:
        over = told.cummax(1).values > threshold
        # A pause is taken over if the threshold is passed before it ends.
        first = torch.cat([over[:, :1], over[:, 1:] & ~over[:, :-1]], 1).float()
        taken = (first[label == LISTEN] * goes_on(seconds)).sum(1).mean()
        row = {"answer": threshold, "taken_over": float(taken)}
        for within in (0.4, 0.7, 1.0):
            place = int((seconds < within + 0.01).sum()) - 1
            row[f"answered_in_{within}"] = float(over[label == ANSWER, place].float().mean())
        found.append({name: round(value, 3) for name, value in row.items()})
    return found


def over_curve(
    head: nn.Module, points: Points, evidence: float = EVIDENCE
) -> list[dict[str, float]]:
    """What each threshold of ``interrupt`` would do where the assistant has the floor, with so much
    ``evidence`` above it: in which share of the scenes the answer stops, of those that call for it
    (at all, and within 0.3 s of the first judgement) and of those that do not.
    """
    chosen = points.facts[:, OVER] == 1
    told = 1 - measure(head, points)[chosen, 2]
    scene, kind_of = points.scene[chosen], points.kind[chosen]
    begun = torch.ones_like(scene, dtype=torch.bool)
    begun[1:] = scene[1:] != scene[:-1]
    number = torch.arange(len(scene))
    number = number - torch.where(begun, number, 0).cummax(0).values
    kinds = list(SHARES)
    wanted = kind_of == kinds.index("interruption")
    others = kind_of == kinds.index("to others")
    listening = kind_of == kinds.index("backchannel")
    found = []
    for threshold in THRESHOLDS:
        row: dict[str, float] = {"interrupt": threshold}
        known = summed(told, scene, threshold)
        for name, kind, judged in (
            ("stops", wanted, wanted),
            ("stops_in_0.3", wanted, wanted & (number < 4)),
            ("stops_for_backchannels", listening, listening),
            ("stops_for_others", others, others),
            ("stops_for_noise", ~(wanted | others | listening), ~(wanted | others | listening)),
        ):
            stopped = scene[judged & (known > evidence)].unique()
            row[name] = len(stopped) / max(1, len(scene[kind].unique()))
        found.append({name: round(value, 3) for name, value in row.items()})
    return found


def go_on_curve(head: nn.Module, points: Points) -> list[dict[str, float]]:
    """What each threshold of ``go_on`` would do when something has stopped the answer and there is
    silence: the share of scenes in which it goes on, of those that want an answer (in this they
    would be overheard), and of talk to others and backchannels."""
    behind = stopping(points)
    behind = _take(behind, torch.arange(len(points), len(behind)))
    told = measure(head, behind, SHORTEST)[:, IGNORE]
    kinds = list(SHARES)
    found = []
    for threshold in THRESHOLDS:
        row: dict[str, float] = {"go_on": threshold}
        for name, kind in (
            ("overheard", "interruption"),
            ("resumed_after_others", "to others"),
            ("resumed_after_backchannels", "backchannel"),
        ):
            of_kind = behind.kind == kinds.index(kind)
            if kind == "interruption":  # before it there may have been something else
                of_kind &= behind.label != IGNORE
            went_on = behind.scene[of_kind & (told > threshold)].unique()
            row[name] = len(went_on) / max(1, len(behind.scene[of_kind].unique()))
        found.append({name: round(value, 3) for name, value in row.items()})
    return found


def summed(told: Tensor, scene: Tensor, threshold: float) -> Tensor:
    """The evidence behind each judgement [n], as :class:`edge_omni.dialogue.Rules` adds it up: log
    odds above those of ``threshold`` since the scene began or they last fell below 0."""
    steps = (torch.logit(told, 1e-6) - math.log(threshold / (1 - threshold))).tolist()
    sums, before, last = [], 0.0, None
    for step, number in zip(steps, scene.tolist(), strict=True):
        before = max(0.0, (before if number == last else 0.0) + step)
        last = number
        sums.append(before)
    return torch.tensor(sums)


def _area(positive: Tensor, negative: Tensor) -> float:
    """The probability that one of the first is above one of the second."""
    if not len(positive) or not len(negative):
        return float("nan")
    return float((positive[:, None] > negative[None]).float().mean())


def tell(head: nn.Module, points: Points, path: Path) -> None:
    """Print what a head is worth, and write its curves."""
    print(json.dumps(report(head, points), indent=1))
    curves = {
        "answer": curve(head, points),
        "interrupt": over_curve(head, points),
        "go_on": go_on_curve(head, points),
    }
    for row in itertools.chain(*curves.values()):
        print(*(f"{name} {value}" for name, value in row.items()), sep="  ")
    told = {
        "scenes": len(points.scene.unique()),
        "evidence": EVIDENCE,
        "answer_falls": FALLS,
        "curves": curves,
    }
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a head, or take several, and print what it is worth, or they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mean", type=Path, nargs="+", help="train none, judge by all of these")
    parser.add_argument("--llm", action="store_true", help="look at the LLM's hidden state too")
    parser.add_argument("--bundle", type=Path, help="begin with the weights of its first head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    training, stop, judge = split(load(*options.data))
    if options.mean:
        heads = [build(checkpoint.read(path)["model"]) for path in options.mean]
        tell(Mean(heads), judge, options.out / "mean.curves.json")
        return
    path = options.out / f"{'llm' if options.llm else 'general'}{options.seed or ''}.pt"
    head = train(
        stopping(training), stopping(stop), path, llm=options.llm, seconds=60 * options.minutes,
        seed=options.seed,
        begin=exported(options.bundle / "state_head.onnx")[0] if options.bundle else None,
    )  # fmt: skip
    checkpoint.write(path.with_suffix(".head.pt"), {"model": head.state_dict()})
    tell(head, judge, path.with_suffix(".curves.json"))


if __name__ == "__main__":
    main()
