"""Freeze-Omni's own decoder in the runtime: what it reads, what it draws, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from convert.freeze_omni import random_checkpoint
from convert.freeze_omni.bundle import _decoder
from convert.freeze_omni.graphs import graphs
from convert.freeze_omni.model import Model, read
from edge_omni.errors import BundleError
from edge_omni.graph import Graph
from edge_omni.token_decoder import TokenDecoder, plain

Make = Callable[..., TokenDecoder]
ENDED = "We are done."


class Bytes:
    """An LLM whose tokens are bytes."""

    width = 128

    def __init__(self) -> None:
        dice = np.random.default_rng(0)
        self._table = dice.standard_normal((256, self.width)).astype(np.float32)

    def tokenize(self, text: bytes) -> list[int]:
        return list(text)

    def embedding_rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return self._table[list(tokens)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint.write(folder, random_checkpoint.Sizes(width=16, block_kernels=(3,)))
    return read(folder)


@pytest.fixture(scope="module")
def make(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("graphs")
    for streaming in graphs(model):
        if streaming.role.startswith("decoder"):
            streaming.write(folder / f"{streaming.role}.onnx", "fp32")

    def decoder(**changes: Any) -> TokenDecoder:
        text, prefix, step = (
            Graph(Path(folder / f"decoder_{part}.onnx")) for part in ("text", "prefix", "step")
        )
        config = {**_decoder(model), "longest": 60, **changes}
        return TokenDecoder(text, prefix, step, Bytes(), config)

    return decoder


def codes(decoder: TokenDecoder, text: str, hidden: NDArray[np.float32] | None = None) -> list[int]:
    return [int(code) for spoken in decoder.speak(text, hidden) for code in spoken.codes]


def test_it_writes_what_the_modules_write(make: Make, model: Model) -> None:
    """Greedy, with the penalty of the reference, against the modules by hand."""
    hidden = np.random.default_rng(1).standard_normal((5, 128)).astype(np.float32)
    found = codes(make(top_k=1, longest=40), ENDED, hidden)
    decoder, config = model.decoder, _decoder(model)
    keys, values = decoder.prefix(torch.from_numpy(hidden)[None])
    rows = decoder.text(torch.from_numpy(Bytes().embedding_rows(list(ENDED.encode())))[None])
    nothing = torch.zeros(1, 0, dtype=torch.int64)
    position = torch.zeros(1, dtype=torch.int64)
    _, keys, values, position = decoder.step(rows, nothing, keys, values, position)
    written = [config["begin"]]
    for _ in range(40):
        scores, keys, values, position = decoder.step(
            rows[:, :0], torch.tensor([written[-1:]]), keys, values, position
        )
        row = scores[0].clone()
        for code in written[-config["penalty_window"] :]:
            row[code] /= config["penalty"]
        row[[config["codes"], config["codes"] + 1, config["codes"] + 3]] = -torch.inf
        written.append(int(row.argmax()))
        if written[-1] == config["end"]:
            written.pop()
            break
    assert len(found) > 3
    assert found == written[1:]


def test_every_code_is_one_that_the_vocoder_knows(make: Make, model: Model) -> None:
    assert set(codes(make(top_k=60), ENDED)) <= set(range(model.speaking.odim))


def test_the_same_seed_says_the_same(make: Make) -> None:
    first, second = make(top_k=5), make(top_k=5)
    second.reset(0)
    assert codes(first, ENDED) == codes(second, ENDED)
    second.reset(1)
    assert codes(first, ENDED) != codes(second, ENDED)


def test_hidden_states_change_what_is_said(make: Make) -> None:
    hidden = np.ones((3, 128), np.float32)
    plainly, decoder = codes(make(top_k=1), ENDED), make(top_k=1)
    assert codes(decoder, ENDED, hidden) != plainly
    decoder.use_prefix = False
    assert codes(decoder, ENDED, hidden) == plainly


def test_words_are_told_apart_only_as_far_as_they_can_be(make: Make) -> None:
    """Characters never run back, and all of them are said with the last code."""
    decoder = make(top_k=5)
    for text in (ENDED, "And a somewhat longer one, with a comma."):
        ends = [spoken.character for spoken in decoder.speak(text, None)]
        assert ends == sorted(ends)
        assert ends[-1] == len(text)
        assert all(end < len(text) for end in ends[:-1])


def test_text_that_says_nothing_makes_no_code(make: Make) -> None:
    assert codes(make(), "") == []


def test_a_setting_that_is_missing_is_named(make: Make) -> None:
    text = make()._text
    with pytest.raises(BundleError, match="lacks codes, begin"):
        TokenDecoder(text, None, text, Bytes(), {"kind": "token"})


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("Hello there.", "Hello there."),
        ("Hello there", "Hello there。"),
        ("First,", "First。"),
        ("**Bold** and `code`!", "Bold and code!"),
        ("A (small) thing.", "A ,small, thing."),
        ("One. Two: three.\n", "One.Two:three."),
        ("1. Apples", "1:Apples。"),
        ("", ""),
    ],
)
def test_text_is_made_plain_as_the_decoder_learnt_it(written: str, read_as: str) -> None:
    assert plain(written) == read_as
