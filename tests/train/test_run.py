"""Training runs, on the codec's command: stopped, taken up, damaged, and in several processes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from train import checkpoint
from train.hearing import batches
from train.hearing.data import WIDTH
from train.run import Run, share
from train.speech import codec, synthesize

ROOT = Path(__file__).parents[2]
STEPS = 12


def folder(path: Path) -> Path:
    """A folder with latents to learn from."""
    dice = np.random.default_rng(0)
    latents = dice.standard_normal((300, 192)).cumsum(0).astype(np.float16)
    durations = np.full(3, 100, np.uint8)
    (path / "latents").mkdir(parents=True)
    utterance = synthesize.Utterance("Hm.", np.zeros(0, np.int16), durations, latents)
    synthesize.save(path / "latents" / "hums-0000.npz", [utterance])
    np.save(path / codec.METRIC, np.eye(192, dtype=np.float32))
    return path


def train(work: Path, *options: str) -> dict[str, Tensor]:
    """Train a codec to the end of its run; its weights."""
    arguments = ["codec", "--work", str(work), "--steps", str(STEPS), *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        codec.main()
    return weights(work)


def weights(work: Path) -> dict[str, Tensor]:
    state = checkpoint.read(work / "codec.pt")
    assert state["step"] == STEPS
    return state["model"]


def interrupt_once_there_is(path: Path) -> None:
    """Press Ctrl-C then."""
    while not path.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def logged(work: Path) -> list[int]:
    """The steps of the log's lines, each later than the one before."""
    steps = [json.loads(line)["step"] for line in (work / "codec.jsonl").open()]
    assert steps == sorted(set(steps))
    return steps


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a run that nothing stopped."""
    return train(folder(tmp_path_factory.mktemp("straight")))


def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_bits(
    straight: dict[str, Tensor], tmp_path: Path
) -> None:
    work = folder(tmp_path / "work")
    hand = threading.Thread(target=interrupt_once_there_is, args=[work / "codec.pt"], daemon=True)
    hand.start()
    with pytest.raises(SystemExit, match=str(128 + signal.SIGINT)):
        train(work, "--every", "0")
    hand.join()
    assert 0 < checkpoint.read(work / "codec.pt")["step"] < STEPS
    assert same(train(work), straight)
    assert logged(work)[-1] == STEPS


def test_workers_make_the_same_batches(straight: dict[str, Tensor], tmp_path: Path) -> None:
    assert same(train(folder(tmp_path / "work"), "--workers", "2"), straight)


def small(path: Path, width: int = 3) -> Run:
    """A run of a small model, in this process."""
    model = nn.Linear(width, width)
    options = {"precision": "bf16", "steps": 4, "minutes": None, "every": 9.0, "workers": 0}
    return Run(
        path, model, torch.optim.AdamW(model.parameters()), argparse.Namespace(**options, seed=0)
    )


def test_a_damaged_checkpoint_is_told_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    small(path).save()
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(checkpoint.CheckpointError, match=r"small\.pt is damaged.*delete it"):
            small(path)


def test_a_checkpoint_of_another_model_is_told_with_a_remedy(tmp_path: Path) -> None:
    small(tmp_path / "small.pt").save()
    with pytest.raises(checkpoint.CheckpointError, match=r"another model.*another folder"):
        small(tmp_path / "small.pt", width=4)


def test_checkpoints_of_earlier_versions_are_taken_up(tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    optimiser = torch.optim.AdamW([{"params": list(model.parameters()), "highest": 1e-3}])
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "step": 3, "heard": 1.5}, tmp_path / "last.pt")
    taken = small(tmp_path / "last.pt")
    assert torch.equal(taken.model.weight, model.weight)
    assert (taken.step, taken.extra) == (3, {"heard": 1.5})


def test_the_learning_rate_rises_and_falls_to_2_percent() -> None:
    rates = [share(done / 100, 0.1) for done in range(101)]
    assert rates[0] == 0.01
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[10] > 0.95
    assert rates[-1] == pytest.approx(0.02)


def label(path: Path, count: int) -> None:
    """``count`` recordings of half a second to two seconds, as train.hearing.data leaves them."""
    dice = np.random.default_rng(count)
    path.mkdir(exist_ok=True)
    lines, start, first = [], 0, 0
    for i in range(count):
        frames = 16 * int(dice.integers(2, 7))
        item = {"start": start, "samples": 320 * frames, "first": first, "frames": frames}
        heard = {"tokens": [50 + i], "times": [8], "score": -0.1, "silence": 0.0}
        lines.append(json.dumps({"name": f"{i}", **item, **heard}))
        start, first = start + 320 * frames, first + frames
    dice.integers(-999, 999, start).astype(np.int16).tofile(path / "pcm.i16")
    for layer in ("final", "middle"):
        dice.standard_normal((first, WIDTH)).astype(np.float16).tofile(path / f"{layer}.f16")
    (path / "index.jsonl").write_text("\n".join(lines) + "\n")


def test_a_batch_of_hearing_follows_from_seed_and_number(tmp_path: Path) -> None:
    label(tmp_path, 9)
    place = {token: i for i, token in enumerate([*range(50, 60), *range(50257, 50364)])}

    def made(number: int) -> batches.Batch:
        plans = batches.order([tmp_path], 4.0, seed=1)
        plan = next(plan for i, plan in enumerate(plans) if i == number)
        return batches.make(plan, np.random.default_rng((1, number)), place=place, truncate=0.5)

    assert all(np.array_equal(a, b) for a, b in zip(made(5), made(5), strict=True))
    assert not np.array_equal(made(5).pcm, made(6).pcm)


def test_what_is_labelled_meanwhile_comes_in_with_the_next_epoch(tmp_path: Path) -> None:
    label(tmp_path, 3)
    plans = batches.order([tmp_path, tmp_path / "not yet"], 2.0, seed=0)
    seen: list[str] = []
    while len(seen) < 3:
        seen += [item.name for _, item in next(plans).rows]
    assert sorted(seen) == ["0", "1", "2"]
    label(tmp_path, 4)
    seen.clear()
    while len(seen) < 4:
        seen += [item.name for _, item in next(plans).rows]
    assert sorted(seen) == ["0", "1", "2", "3"]
