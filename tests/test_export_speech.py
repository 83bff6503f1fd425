"""The exported graphs of the speaking half compute what the torch modules do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_speaking import LLM_WIDTH, WIDTH, WINDOW, Speaking

from convert.decoder import LONGEST_SLOT, Prefix, Text
from train.speech.decoder import BEGIN


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Speaking:
    return Speaking(tmp_path_factory.mktemp("speaking"))


@pytest.mark.parametrize("length", [1, 2, 40])
def test_the_pre_network_equals_torch_and_counts_its_codes(speaking: Speaking, length: int) -> None:
    characters = np.random.default_rng(length).integers(1, 30, (1, length))
    outputs, _ = speaking.graph("decoder_text")({}, characters=characters)
    features, durations = outputs["features"].numpy(), outputs["durations"].numpy()
    assert features.shape[1] == max(1, np.ceil(durations.sum() - 0.5))
    assert durations.max() <= 2 * LONGEST_SLOT
    with torch.no_grad():
        steps = torch.arange(features.shape[1])
        wanted = Text(speaking.decoder)(torch.from_numpy(characters), steps)
    np.testing.assert_allclose(features, wanted[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(durations, wanted[1].numpy(), atol=1e-3)


def test_texts_in_one_row_do_not_hear_each_other(speaking: Speaking) -> None:
    """What training relies on: a row of texts gives what each gives alone."""
    model = speaking.decoder
    first, second = torch.tensor([[4, 9, 7, 5]]), torch.tensor([[8, 6, 11]])
    row = torch.cat([first, torch.zeros(1, 2, dtype=torch.int64), second], 1)
    owner = torch.tensor([0, 0, 0, 0, -1, -1, 1, 1, 1])
    mask = torch.where(owner[:, None] == owner, 0.0, -1e4)[None, None]
    with torch.no_grad():
        slots, durations = model.text(row, mask)
        alone, its_durations = model.text(second)
        np.testing.assert_allclose(slots[:, 12:], alone, atol=1e-4)
        durations = torch.tensor([[3.0, 2.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
        gap = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
        its_durations = torch.tensor([[1.5, 1.5, 2.5, 0.0, 0.5, 1.0]])
        there = torch.ones(1, 17, 1)
        there[:, 8:10] = 0
        everything = torch.cat([durations, gap, its_durations], 1)
        together = model.frames(slots, everything, torch.arange(17), there)
        wanted = model.frames(alone, its_durations, torch.arange(7))
    np.testing.assert_allclose(together[:, 10:], wanted, atol=1e-4)


def test_the_prefix_network_equals_torch(speaking: Speaking) -> None:
    hidden = torch.randn(1, 6, LLM_WIDTH)
    outputs, _ = speaking.graph("decoder_prefix")({}, hidden=hidden.numpy())
    with torch.no_grad():
        keys, values = Prefix(speaking.decoder)(hidden)
    np.testing.assert_allclose(outputs["prefix_keys"].numpy(), keys, atol=1e-3)
    np.testing.assert_allclose(outputs["prefix_values"].numpy(), values, atol=1e-3)


@pytest.mark.parametrize("prefix", [0, 5])
def test_steps_equal_torch_on_the_whole_far_beyond_the_window(
    speaking: Speaking, prefix: int
) -> None:
    writer, time = speaking.decoder.writer, 3 * WINDOW
    codes, features = torch.randint(1024, (1, time)), torch.randn(1, time, WIDTH)
    previous = torch.cat([torch.tensor([[BEGIN]]), codes[:, :-1]], 1)
    keys, values = torch.randn(2, 2, writer.heads, prefix, WIDTH // writer.heads)
    with torch.no_grad():
        mask = torch.zeros(1, 1, time, prefix)
        wanted = writer(previous, features, keys[:, None], values[:, None], mask)[0]
    step = speaking.graph("decoder_step")
    state, scores = step.start(), []
    for at in range(time):
        outputs, state = step(
            state,
            code=previous[:, at : at + 1].numpy(),
            feature=features[:, at : at + 1].numpy(),
            prefix_keys=keys.numpy(),
            prefix_values=values.numpy(),
        )
        scores.append(outputs["scores"].numpy()[0])
    np.testing.assert_allclose(scores, wanted, atol=1e-3)


def test_the_vocoder_equals_torch(speaking: Speaking) -> None:
    codes = torch.randint(1024, (1, 20))
    graph = speaking.graph("vocoder")
    outputs, _ = graph(graph.start(), codes=codes.numpy())
    with torch.no_grad():
        wanted = speaking.vocoder(codes, *speaking.vocoder.first_state().values())[0]
    np.testing.assert_allclose(outputs["pcm"].numpy(), wanted, atol=1e-3)


def test_the_streaming_codec_equals_the_trained_one(speaking: Speaking) -> None:
    """Inside the vocoder the codec runs one code behind; else it is what was trained."""
    codes = torch.randint(1024, (1, 20))
    heard: list[torch.Tensor] = []
    handle = speaking.vocoder.waveform.register_forward_pre_hook(
        lambda module, inputs: heard.append(inputs[0])
    )
    with torch.no_grad():
        wanted = speaking.vocoder.codec.decode(codes)
        speaking.vocoder(codes, *speaking.vocoder.first_state().values())
    handle.remove()
    np.testing.assert_allclose(heard[-1][:, :, 30:], wanted[:, :, 28:-2], atol=1e-3)


def test_weights_take_two_bytes_each(speaking: Speaking) -> None:
    parameters = sum(p.numel() for p in speaking.decoder.writer.parameters())
    assert Path(speaking.folder / "decoder_step.onnx").stat().st_size < 2.5 * parameters + 50_000
