"""The prefix network is trained alone, and what it sees is its own text."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_omni.bundle import Bundle
from train import checkpoint
from train.speech import prefix
from train.speech.aligned import Aligned
from train.speech.alphabet import encode
from train.speech.lessons import collate, cut, whole

WIDTH = 24


def sentence(text: str, seed: int) -> Aligned:
    """Two codes a character, and the codes random."""
    characters = encode(f"^{text}$")
    durations = np.full(2 * len(characters), 2)
    codes = np.random.default_rng(seed).integers(1024, size=durations.sum() // 2)
    units = np.ones_like(durations)
    return Aligned(text, characters, units, durations, codes)


def states(text: str, seed: int) -> np.ndarray:
    tokens = len(text.split())
    return np.random.default_rng(seed).standard_normal((tokens, WIDTH)).astype(np.float16)


@pytest.fixture(scope="module")
def said() -> list[Aligned]:
    return [sentence(text, i) for i, text in enumerate(("a cat sat", "on the mat", "all day"))]


def test_only_the_prefix_network_changes_and_it_helps(
    bundle: Bundle, said: list[Aligned], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    decoder = prefix.build(bundle, WIDTH)
    hidden = {s.text: states(s.text, i) for i, s in enumerate(said)}
    before, old = prefix.measure(decoder, said, {}), copy.deepcopy(decoder.state_dict())
    for seconds in (6, 20, 60, 180):  # a slow machine needs more, and goes on where it was
        prefix.train(
            decoder, said, said, hidden, tmp_path / "run.pt", seconds=seconds, every=10, count=1
        )
        if prefix.measure(decoder, said, hidden).mean() < 0.9 * before.mean():
            break
    changed = {n for n, v in decoder.state_dict().items() if not torch.equal(v, old[n])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"prefix"}
    assert prefix.measure(decoder, said, hidden).mean() < 0.9 * before.mean()


def test_a_run_goes_on_where_it_was(bundle: Bundle, said: list[Aligned], tmp_path: Path) -> None:
    hidden = {s.text: states(s.text, i) for i, s in enumerate(said)}
    path = tmp_path / "run.pt"
    for seconds in (1, 2):
        prefix.train(
            prefix.build(bundle, WIDTH), said, said, hidden, path, seconds=seconds, every=5
        )
        assert checkpoint.read(path)["seconds"] >= seconds
    steps, best = checkpoint.read(path)["step"], checkpoint.read(tmp_path / "run.best.pt")
    again = prefix.build(bundle, WIDTH)
    prefix.train(again, said, said, hidden, path, seconds=2, every=5)
    assert checkpoint.read(path)["step"] == steps
    for name, value in best["model"].items():
        torch.testing.assert_close(again.prefix.state_dict()[name], value)


def test_texts_in_one_row_do_not_see_each_others_hidden_states(
    bundle: Bundle, said: list[Aligned]
) -> None:
    torch.manual_seed(0)
    decoder = prefix.build(bundle, WIDTH)
    pieces = [whole(s, states(s.text, i)) for i, s in enumerate(said[:2])]
    other = whole(said[1], states(said[1].text, 7))
    codes = len(said[0].codes)
    with torch.no_grad():
        both, changed = (
            prefix.losses(decoder, collate([[pieces[0], second]], WIDTH))
            for second in (pieces[1], other)
        )
    torch.testing.assert_close(both[:, :codes], changed[:, :codes])
    assert not torch.allclose(both[:, codes:], changed[:, codes:])


def test_a_cut_sentence_shares_out_its_hidden_states(said: list[Aligned]) -> None:
    hidden = states(said[0].text, 0)
    pieces = cut(said[0], hidden, np.random.default_rng(0))
    assert len(pieces) == 2
    parts = [piece.hidden for piece in pieces]
    np.testing.assert_array_equal(np.concatenate(parts), hidden)
    assert all(len(part) for part in parts)
