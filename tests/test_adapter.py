"""Both kinds of adapter keep one contract: settled once, tentative until replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import onnx
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from small_hearing import LLM_WIDTH, SETTINGS, WIDTH, Letters, Parts, noise
from torch import Tensor, nn

from edge_omni.adapter import FrameAdapter, Heard, Listener, TokenAdapter
from edge_omni.bundle import Bundle
from edge_omni.encoder import Encoder, Frames
from edge_omni.errors import BundleError
from edge_omni.graph import STATE_KEY, Graph
from edge_omni.spelling import Spelling
from edge_omni.token_search import TokenSearch, repeated

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("hearing"))


@pytest.fixture(scope="module")
def tiny() -> Listener:
    bundle = Bundle("tiny")
    adapter = bundle.manifest.adapter
    graphs = [Graph(bundle.path(role)) for role in ("encoder", "adapter_memory", "adapter_step")]
    token_adapter = TokenAdapter(graphs[1], graphs[2], Letters(), adapter.settings, bundle.folder)
    return Listener(Encoder(graphs[0], bundle.manifest.encoder), token_adapter)


def sample(name: str) -> NDArray[np.float32]:
    pcm, rate = soundfile.read(SAMPLES / name, dtype="float32")
    assert rate == 16_000
    return np.asarray(pcm, dtype=np.float32)


@pytest.fixture(scope="module")
def question() -> NDArray[np.float32]:
    return sample("question.wav")


def pushes(listener: Listener, pcm: NDArray[np.float32], size: int) -> Iterator[Heard]:
    for start in range(0, len(pcm), size):
        yield listener.push(pcm[start : start + size])
    yield listener.finish()


def words(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c == " ").split()


def test_a_turn_is_settled_row_by_row_and_wholly_at_its_end(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    heard = list(pushes(tiny, np.concatenate([question, sample("follow-up.wav")]), 5120))
    settled = np.concatenate([item.settled for item in heard])
    assert len(heard[-1].tentative) == 0
    assert len(settled) > 4
    assert any(len(item.settled) for item in heard[:-1]), "nothing settled before the end"
    assert settled.shape[1] == LLM_WIDTH
    assert len(words(tiny.caption)) > 4


def test_however_the_sound_is_cut_the_same_is_heard(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    captions, rows = [], []
    for size in (len(question), 5120, 321):
        heard = list(pushes(tiny, question, size))
        rows.append(np.concatenate([item.settled for item in heard]))
        captions.append(tiny.caption)
    assert captions[0] == captions[1] == captions[2]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_a_turn_begins_by_itself_after_the_end_of_one(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    first = list(pushes(tiny, question, 5120))
    caption = tiny.caption
    second = list(pushes(tiny, question, 5120))
    assert tiny.caption == caption
    np.testing.assert_array_equal(first[-1].settled, second[-1].settled)


def test_silence_is_heard_as_nothing(tiny: Listener) -> None:
    quiet = 1e-4 * noise(1.0)
    heard = list(pushes(tiny, quiet, 5120))
    assert sum(len(item.settled) for item in heard) == 0
    assert tiny.caption == ""


def test_a_long_turn_is_cut_and_its_text_goes_on(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    pause = np.zeros(12_000, np.float32)
    spoken = np.concatenate([question, pause, sample("follow-up.wav"), pause])
    list(pushes(tiny, spoken, 5120))
    once = words(tiny.caption)
    times = int(40 * 16_000 / len(spoken)) + 1
    heard = list(pushes(tiny, np.tile(spoken, times), 5120))
    said = words(tiny.caption)
    # Forty seconds are more than one segment holds.
    assert jiwer.wer(" ".join(once * times), " ".join(said)) < 0.2
    assert sum(len(item.settled) for item in heard) >= len(said)


def test_a_long_turn_without_a_pause_is_cut_all_the_same(parts: Parts) -> None:
    # Random weights never say that a sentence ends.
    settings = {**SETTINGS, "segment": 60, "longest": 90}
    listener = Listener(parts.runtime_encoder(), parts.runtime_adapter(settings))
    heard = list(pushes(listener, noise(12.0), 5120))
    assert len(heard[-1].tentative) == 0


def test_rows_are_expectations_of_the_llms_embeddings(parts: Parts) -> None:
    llm = Letters()
    spelling = Spelling(parts.folder / "tokens.json", llm)
    cat, mat = 4, 10
    row = spelling.expectation(np.array([cat, mat, 0]), np.array([0.6, 0.2, 0.2], np.float32))
    spelled = [llm.embedding_rows(llm.tokenize(text)).mean(0) for text in (b" cat", b" mat")]
    np.testing.assert_allclose(row, 0.75 * spelled[0] + 0.25 * spelled[1], rtol=1e-5)


def test_the_first_word_of_a_turn_has_no_space(parts: Parts) -> None:
    llm = Letters()
    spelling = Spelling(parts.folder / "tokens.json", llm)
    alone = llm.embedding_rows(llm.tokenize(b"cat")).mean(0)
    np.testing.assert_array_equal(spelling.row(4, first=True), alone)
    assert not np.array_equal(spelling.row(4), alone)


def test_the_residual_is_added_to_the_embeddings_as_torch_has_it(parts: Parts) -> None:
    frames = parts.runtime_encoder().push(noise(1.6))
    plain, added = (
        parts.runtime_adapter(residual=residual).finish(frames).settled
        for residual in (False, True)
    )
    spelling = Spelling(parts.folder / "tokens.json", Letters())
    memory, step = parts.graph("adapter_memory"), parts.graph("adapter_step")
    search = TokenSearch(memory, step, spelling, SETTINGS)
    search.add(frames)
    heard, _ = search.advance(final=True)
    hidden = torch.from_numpy(np.stack([item.hidden for item in heard]))
    with torch.no_grad():
        wanted = parts.residual(hidden[None])[0].numpy()
    assert len(plain) > 0
    assert np.abs(wanted).mean() > 0.1
    np.testing.assert_allclose(added - plain, wanted, atol=1e-3)


def test_a_damaged_vocabulary_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"tokens": ["a"]}))
    with pytest.raises(BundleError, match="prompt"):
        Spelling(path, Letters())


@pytest.mark.parametrize(
    ("tokens", "extra"),
    [([1, 2, 3, 4], 0), ([9, 5, 5, 5, 5], 3), ([9, 1, 2, 1, 2, 1, 2, 1, 2], 6), ([7, 7, 7], 0)],
)
def test_a_loop_is_told_from_what_is_said_twice(tokens: list[int], extra: int) -> None:
    assert repeated(tokens) == extra


class Strided(nn.Module):
    """A frame-synchronous adapter as small as can be: one strided convolution and its state."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, LLM_WIDTH, 5, stride=4)

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([past, frames.transpose(1, 2)], dim=2)
        return self.convolution(x).transpose(1, 2), x[:, :, -1:]


def test_a_frame_synchronous_adapter_settles_at_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = Strided().eval(), tmp_path / "adapter.onnx"
    past = torch.zeros(1, WIDTH, 1)
    torch.onnx.export(
        module,
        (torch.zeros(1, 16, WIDTH), past),
        str(path),
        dynamo=False,
        opset_version=18,
        input_names=["frames", "state.past"],
        output_names=["embeddings", "next_state.past"],
        dynamic_axes={"frames": {1: "n"}, "embeddings": {1: "m"}},
    )
    model = onnx.load(str(path))
    first = {"past": {"shape": list(past.shape), "dtype": "float32"}}
    onnx.helper.set_model_props(model, {STATE_KEY: json.dumps(first)})
    onnx.save(model, str(path))

    adapter = FrameAdapter(Graph(path), LLM_WIDTH)
    frames = np.random.default_rng(0).standard_normal((64, WIDTH)).astype(np.float32)
    none = frames[:0]
    pieces = [
        adapter.push(Frames(frames[start : start + 16], frames[start + 16 : start + 32]))
        for start in range(0, 48, 16)
    ]
    pieces.append(adapter.finish(Frames(frames[48:], none)))
    with torch.no_grad():
        whole, _ = module(torch.from_numpy(frames)[None], past)
    settled = np.concatenate([piece.settled for piece in pieces])
    np.testing.assert_allclose(settled, whole[0].numpy(), atol=1e-5)
    assert all(len(piece.tentative) == 0 for piece in pieces)
    assert adapter.caption == ""
    adapter.reset()
    np.testing.assert_array_equal(
        adapter.push(Frames(frames[:16], none)).settled, pieces[0].settled
    )
