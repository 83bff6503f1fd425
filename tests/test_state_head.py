"""The state head: the graph tells what the network tells, of what the listener gives it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from convert.state_head import write
from edge_omni.adapter import FRAMES, TOKENS
from edge_omni.graph import Graph
from edge_omni.state_head import Evidence, Loudness, StateHead, above
from train.turns import head as training
from train.turns.scenes import ANSWER, IGNORE, LISTEN, Points

WIDTH, LLM_WIDTH = 32, 24


def network(llm_width: int = 0, seed: int = 0) -> training.StateHead:
    torch.manual_seed(seed)
    made = training.StateHead(WIDTH, FRAMES, TOKENS, llm_width, inner=16).eval()
    with torch.no_grad():  # no two parts alike, as after training
        for weight in made.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return made


def evidence(seed: int, *, rows: int = FRAMES, over: bool = True) -> Evidence:
    dice = np.random.default_rng(seed)
    frames = dice.standard_normal((1, FRAMES, WIDTH)).astype(np.float32)
    frames[:, : FRAMES - rows] = 0
    hidden = dice.standard_normal((1, TOKENS, WIDTH)).astype(np.float32)
    llm = dice.standard_normal((1, LLM_WIDTH)).astype(np.float32)
    return Evidence(frames, hidden, llm, llm, 0.4, 1.7, over, level=-6.0)


@pytest.mark.parametrize("llm_width", [0, LLM_WIDTH])
def test_the_graph_tells_what_the_network_tells(tmp_path: Path, llm_width: int) -> None:
    path = tmp_path / "state_head.onnx"
    heads = [network(llm_width, seed) for seed in (0, 1)]
    made = training.Mean(heads)
    write(heads, path)
    judge = StateHead(Graph(path))
    for seed, rows, over in ((0, FRAMES, True), (1, 7, False), (2, 1, False)):
        given = evidence(seed, rows=rows, over=over)
        with torch.no_grad():
            inputs = (given.frames, given.hidden, given.facts, given.llm)
            wanted = made(*map(torch.from_numpy, inputs)).softmax(-1)
        told = judge(given)
        assert [told.listen, told.answer, told.ignore] == pytest.approx(
            wanted[0].tolist(), abs=2e-3
        )
        assert told.listen + told.answer + told.ignore == pytest.approx(1, abs=1e-5)


def test_a_head_goes_on_from_its_graph(tmp_path: Path) -> None:
    path, heads = tmp_path / "state_head.onnx", [network(seed=seed) for seed in (0, 1)]
    write(heads, path)
    for made, again in zip(heads, training.exported(path), strict=True):
        for name, value in again.state_dict().items():
            torch.testing.assert_close(value, made.state_dict()[name], atol=2e-3, rtol=2e-3)


def test_what_stands_in_front_of_the_first_frame_does_not_count() -> None:
    made, given = network(), evidence(3, rows=20)
    with torch.no_grad():
        short = made.frames(torch.from_numpy(given.frames))
        made.frames.place[: FRAMES - 20] += 5
        again = made.frames(torch.from_numpy(given.frames))
    assert torch.allclose(short, again, atol=1e-6)


def test_a_pause_that_lasts_is_an_end_in_the_end() -> None:
    made, given = network(), evidence(4, over=False)
    frames, hidden, llm = map(torch.from_numpy, (given.frames, given.hidden, given.llm))
    told = []
    for silence in (0.2, 0.6, 1.0, 1.5, 3.0):
        facts = torch.from_numpy(given.facts).clone()
        facts[:, training.SILENCE] = np.log1p(silence)
        with torch.no_grad():
            told.append(made(frames, hidden, facts, llm).softmax(-1)[0, LISTEN].item())
    assert all(a > b for a, b in itertools.pairwise(told))
    assert told[-1] < 0.1


def test_loudness_is_of_what_is_voiced() -> None:
    loudness = Loudness()
    assert loudness.decibels is None
    assert above(loudness, -20.0) is None
    loudness.add(np.full(320, 0.1, np.float32))
    loudness.add(np.full(320, 0.1, np.float32))
    assert loudness.decibels == pytest.approx(-20, abs=0.01)
    assert above(loudness, -26.0) == pytest.approx(6, abs=0.01)
    assert above(loudness, None) is None


def points(count: int) -> Points:
    """Points whose state stands in their frames."""
    dice = torch.Generator().manual_seed(1)
    label = torch.randint(0, 3, (count,), generator=dice)
    frames = 0.3 * torch.randn(count, FRAMES, WIDTH, generator=dice)
    frames[torch.arange(count), :, label] += 2
    return Points(
        frames=frames.half(),
        hidden=torch.randn(count, TOKENS, WIDTH, generator=dice).half(),
        llm=torch.zeros(count, LLM_WIDTH).half(),
        facts=torch.rand(count, 5, generator=dice).round(),
        label=label,
        scene=torch.arange(count),
        kind=torch.zeros(count, dtype=torch.int64),
    )


def test_it_learns_and_is_judged_on_scenes_kept_aside(tmp_path: Path) -> None:
    training_points, stop, judge = training.split(points(600))
    assert not set(training_points.scene.tolist()) & set(judge.scene.tolist())
    assert not set(stop.scene.tolist()) & set(judge.scene.tolist())
    made = training.train(training_points, stop, tmp_path / "head.pt", llm=False, seconds=20)
    told = training.measure(made, judge).argmax(1)
    assert (told == judge.label).float().mean() > 0.9
    assert {LISTEN, ANSWER, IGNORE} == set(told.tolist())


def test_pauses_are_the_fewer_the_longer() -> None:
    shares = training.goes_on(torch.tensor([0.1, 0.2, 0.9, 1.5, 5.0]))
    assert shares[0] == shares[1] == 1
    assert (shares[1:-1] > shares[2:]).all()
    assert shares[-1] > 0
