"""Both kinds of adapter keep one contract: the words of the turn so far, or rows once for all."""

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
from small_hearing import END, PROMPT, SETTINGS, TEXTS, WIDTH, Parts, noise
from torch import Tensor, nn

from convert import hearing
from edge_omni.adapter import FrameAdapter, Heard, Listener, WordAdapter, Words
from edge_omni.bundle import Bundle
from edge_omni.encoder import Encoder, Frames
from edge_omni.errors import BundleError
from edge_omni.graph import STATE_KEY, Graph
from edge_omni.spelling import Spelling
from edge_omni.token_search import repeated

SAMPLES = Path(__file__).parent.parent / "samples"
LLM_WIDTH = 12


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("hearing"))


@pytest.fixture(scope="module")
def tiny() -> Listener:
    bundle = Bundle("tiny")
    adapter = bundle.manifest.adapter
    graphs = [Graph(bundle.path(role)) for role in ("encoder", "adapter_memory", "adapter_step")]
    assert adapter.kind == "word"
    word_adapter = WordAdapter(graphs[1], graphs[2], adapter.settings, bundle.folder)
    return Listener(Encoder(graphs[0], bundle.manifest.encoder), word_adapter)


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


def texts(listener: Listener, pcm: NDArray[np.float32], size: int = 5120) -> list[str]:
    """What the turn is, after each push and at its end."""
    heard = list(pushes(listener, pcm, size))
    assert all(isinstance(item, Words) for item in heard)
    return [item.text for item in heard if isinstance(item, Words)]


def words(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c == " ").split()


def test_words_are_told_while_they_are_spoken_and_all_of_them_at_the_end(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    told = texts(tiny, np.concatenate([question, sample("follow-up.wav")]))
    assert len(words(told[-1])) > 4
    assert told[-1] == tiny.caption
    half = words(told[len(told) // 2])
    assert half, "nothing was told before the end"
    # What was told early stays, but for the word that was just being spoken.
    assert words(told[-1])[: len(half) - 1] == half[:-1]


def test_however_the_sound_is_cut_the_words_at_the_end_are_those_of_the_whole(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    whole = texts(tiny, question, len(question))[-1]
    assert words(whole)
    assert [texts(tiny, question, size)[-1] for size in (5120, 321)] == [whole, whole]


def test_a_text_never_begins_or_ends_with_a_space(
    tiny: Listener, parts: Parts, question: NDArray[np.float32]
) -> None:
    small = Listener(parts.runtime_encoder(), parts.runtime_adapter())
    for listener, pcm in ((tiny, question), (small, noise(3.0))):
        told = texts(listener, pcm)
        assert any(told)
        assert [text.strip() for text in told] == told


def test_a_character_that_is_only_begun_is_not_shown(parts: Parts) -> None:
    begun, rest = len(TEXTS), len(TEXTS) + 1
    path = parts.folder / "accents.json"
    hearing.write_tokens(path, [*TEXTS, b" caf\xc3", b"\xa9"], PROMPT, END)
    assert Spelling(path).text([begun]) == " caf"
    assert Spelling(path).text([begun, rest]) == " caf\u00e9"

    # Whatever is heard, it is the first byte of two.
    hearing.write_tokens(parts.folder / "begun.json", [b"\xc3"] * len(TEXTS), PROMPT, END)
    adapter = parts.runtime_adapter({**SETTINGS, "vocabulary": "begun.json"})
    listener = Listener(parts.runtime_encoder(), adapter)
    assert set(texts(listener, noise(3.0))) == {""}
    assert len(adapter.hidden) > 0


def test_a_turn_begins_by_itself_after_the_end_of_one(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    assert texts(tiny, question) == texts(tiny, question)


def test_a_fork_goes_on_by_itself(tiny: Listener, question: NDArray[np.float32]) -> None:
    alone = texts(tiny, question)[-1]
    middle = len(question) // 5120 // 2 * 5120
    tiny.push(question[:middle])
    fork = tiny.fork()
    assert fork.finish() == Words(fork.caption)
    tiny.push(question[middle:])
    assert tiny.finish() == Words(alone)
    assert len(fork.caption) < len(alone)


def test_silence_is_heard_as_nothing(tiny: Listener) -> None:
    assert set(texts(tiny, 1e-4 * noise(1.0))) == {""}
    assert tiny.caption == ""


def test_a_long_turn_is_cut_and_its_text_goes_on(
    tiny: Listener, question: NDArray[np.float32]
) -> None:
    pause = np.zeros(12_000, np.float32)
    spoken = np.concatenate([question, pause, sample("follow-up.wav"), pause])
    once = words(texts(tiny, spoken)[-1])
    times = int(40 * 16_000 / len(spoken)) + 1
    # Forty seconds are more than one segment holds.
    said = words(texts(tiny, np.tile(spoken, times))[-1])
    assert jiwer.wer(" ".join(once * times), " ".join(said)) < 0.2


def test_a_long_turn_without_a_pause_is_cut_all_the_same(parts: Parts) -> None:
    # Random weights never say that a sentence ends.
    settings = {**SETTINGS, "segment": 60, "longest": 90}
    listener = Listener(parts.runtime_encoder(), parts.runtime_adapter(settings))
    told = texts(listener, noise(12.0))
    assert len(told[-1]) > len(told[len(told) // 2]) > 0


def test_a_damaged_vocabulary_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"tokens": ["a"]}))
    with pytest.raises(BundleError, match="prompt"):
        Spelling(path)


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


def test_a_frame_synchronous_adapter_tells_every_row_once(tmp_path: Path) -> None:
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
    np.testing.assert_allclose(np.concatenate(pieces), whole[0].numpy(), atol=1e-5)
    assert adapter.caption == ""
    adapter.reset()
    np.testing.assert_array_equal(adapter.push(Frames(frames[:16], none)), pieces[0])
