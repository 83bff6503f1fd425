"""Freeze-Omni's checkpoint as a bundle: streaming graphs that do what its modules do at once."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from convert import random_llm
from convert.export import Precision
from convert.freeze_omni import bundle as converter
from convert.freeze_omni import check, random_checkpoint
from convert.freeze_omni.adapter import Adapter
from convert.freeze_omni.codec import OUTSIDE
from convert.freeze_omni.encoder import Filterbank
from convert.freeze_omni.graphs import graphs
from convert.freeze_omni.model import Model, read
from convert.freeze_omni.random_checkpoint import Sizes
from edge_omni import Assistant
from edge_omni.audio import files
from edge_omni.audio.virtual import FileDevice
from edge_omni.dialogue import Action, Answer, Lower, Yield
from edge_omni.loop import Loop, Observer

ROOT = Path(__file__).parents[2]
QUESTION = ROOT / "samples" / "question.wav"
SMALL = Sizes(channels=256, block_kernels=(3,), dilations=(1, 3))
OTHERS = replace(
    SMALL, input_layer="none", normalize_before=False, concat_after=True, kernel=3, norm="layer",
    activation="gelu", width=32, heads=2, llm=128, states=5, prefix=False, resblock="2",
    json_cmvn=True, rates=(5, 5, 4, 6), kernels=(11, 9, 8, 12), channels=512,
)  # fmt: skip
OPTIONS = {
    "as published": replace(SMALL, width=32, prompts=3),
    "two convolutions": replace(SMALL, width=16, llm=128),
    "every other option": OTHERS,
    "adapter cnn": replace(SMALL, adapter="cnn"),
    "adapter linear": replace(SMALL, adapter="linear"),
}


@pytest.fixture(scope="module", params=OPTIONS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint.write(folder, OPTIONS[request.param])
    return read(folder)


def write_graphs(model: Model, folder: Path, precision: Precision) -> Iterator[check.Parity]:
    for streaming in graphs(model):
        path = folder / f"{streaming.role}.onnx"
        streaming.write(path, precision)
        yield check.alone(streaming, path, model.codec.n_codes)


# What the modules do


def test_the_filterbank_is_kaldis(model: Model) -> None:
    """Step by step, as Kaldi's documentation has it."""
    pcm = np.random.default_rng(0).standard_normal(2800) * 0.1 + 0.05
    found = Filterbank(80)(torch.tensor(pcm[None], dtype=torch.float32))[0].numpy()

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127 * np.log(1 + np.asarray(hertz) / 700)

    edges = np.linspace(mel(20.0), mel(8000.0), 82)
    at = mel(np.arange(256) * 16000 / 512)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    for number, row in enumerate(found):
        frame = pcm[160 * number : 160 * number + 400] * 32768
        frame = frame - frame.mean()
        frame = (frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])) * window
        power = np.abs(np.fft.rfft(frame, 512))[:256] ** 2
        for band in range(80):
            up = (at - edges[band]) / (edges[band + 1] - edges[band])
            down = (edges[band + 2] - at) / (edges[band + 2] - edges[band + 1])
            energy = (np.clip(np.minimum(up, down), 0, None) * power).sum()
            assert row[band] == pytest.approx(math.log(energy), abs=1e-3)


def test_the_encoder_hears_as_with_a_buffer_that_grows(model: Model) -> None:
    encoder = model.encoder
    layers, kept = encoder.enc[1].encoders, encoder.enc[1].kept
    buffers: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
    state = list(encoder.first_state().values())
    dice = torch.Generator().manual_seed(0)
    for step in range(kept // 4 + 5):
        pcm = 0.1 * torch.randn(1, 2560, generator=dice)
        with torch.no_grad():
            bank = torch.cat([state[1], encoder.filterbank(torch.cat([state[0], pcm], 1))], 1)
            x = encoder.enc[0]((bank - encoder.mean) * encoder.inverse)
            wanted = grown(encoder.enc[1], x, buffers, 4 * step)
            frames, *state = encoder(pcm, *state)
        torch.testing.assert_close(frames, wanted, atol=1e-4, rtol=1e-4)


def grown(
    transformer: nn.Module, x: Tensor, buffers: list[tuple[Tensor, Tensor] | None], position: int
) -> Tensor:
    """One chunk, with keys and values that are there or not there, as in the reference."""
    if hasattr(transformer, "embed"):
        x = transformer.embed(x)
    width, kept = transformer.width, transformer.kept
    x = x * math.sqrt(width)
    length = 4 + (0 if buffers[0] is None else buffers[0][0].shape[1])
    first = max(0, position - kept - 4)
    angles = torch.arange(first, first + length)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    places = torch.stack([angles.sin(), angles.cos()], 2).reshape(length, width)
    for number, layer in enumerate(transformer.encoders):
        its, before = layer.self_attn, layer.before
        inner = layer.norm1(x) if before else x
        q, k, v = (
            linear(inner)[0].view(4, its.heads, its.size).transpose(0, 1)
            for linear in (its.linear_q, its.linear_k, its.linear_v)
        )
        if buffers[number] is not None:
            k = torch.cat([buffers[number][0], k], 1)
            v = torch.cat([buffers[number][1], v], 1)
        buffers[number] = (k[:, -kept:], v[:, -kept:])
        p = its.linear_pos(places).view(length, its.heads, its.size).transpose(0, 1)
        scores = (q + its.pos_bias_u[:, None]) @ k.mT + (q + its.pos_bias_v[:, None]) @ p.mT
        heard = (scores / math.sqrt(its.size)).softmax(-1) @ v
        heard = its.linear_out(heard.transpose(0, 1).reshape(1, 4, width))
        if hasattr(layer, "concat_linear"):
            heard = layer.concat_linear(torch.cat([inner, heard], -1))
        x = x + heard if before else layer.norm1(x + heard)
        x = (
            x + layer.feed_forward(layer.norm2(x))
            if before
            else layer.norm2(x + layer.feed_forward(x))
        )
    return transformer.after_norm(x) if hasattr(transformer, "after_norm") else x


def test_the_adapter_makes_of_chunks_what_it_makes_of_the_whole(model: Model) -> None:
    adapter: Adapter = model.adapter
    frames = torch.randn(1, 40, model.encoder.sizes.width)
    whole, *_ = adapter(frames, *adapter.first_state().values())
    state, parts = list(adapter.first_state().values()), []
    for chunk in frames.split(4, 1):
        rows, *state = adapter(chunk, *state)
        parts.append(rows)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert whole.shape == (1, 20 if adapter.kind == "subsampling" else 40, 128)


def test_the_vocoder_streams_what_padded_convolutions_make_of_the_whole(model: Model) -> None:
    vocoder, delay = model.vocoder, model.vocoder.generator.delay
    codes = torch.randint(model.codec.n_codes, (1, 23))
    outside = torch.full((1, -(-delay // 600)), OUTSIDE)
    state, parts = list(vocoder.first_state().values()), []
    for chunk in torch.cat([codes, outside], 1).split(4, 1):
        sound, *state = vocoder(chunk, *state)
        parts.append(sound)
    streamed = torch.cat(parts, 1)[:, delay : delay + 23 * 600]
    torch.testing.assert_close(streamed, hifi_gan(model, codes), atol=1e-4, rtol=1e-3)


def hifi_gan(model: Model, codes: Tensor) -> Tensor:
    """The sound of all codes at once, each convolution padded with zeros."""
    generator, sizes, quantizer = model.vocoder.generator, model.codec, model.vocoder.quantizer

    def weight(part: nn.Module) -> Tensor:
        if hasattr(part, "weight"):
            return part.weight
        return torch._weight_norm(part.weight_v, part.weight_g, 0)

    def conv(part: nn.Module, x: Tensor) -> Tensor:
        return functional.conv1d(
            x, weight(part), part.bias, padding=part.ahead, dilation=part.dilation
        )

    x = quantizer.quantizer_modules[0].embedding(codes).mT
    books = quantizer.quantizer_modules_globaltokens
    speaker = torch.cat(
        [book.embedding.weight[t] for book, t in zip(books, sizes.global_tokens, strict=True)]
    )
    x = conv(generator.conv_pre, x)
    count = len(sizes.resblock_kernel_sizes)
    for stage, up in enumerate(generator.ups):
        padding = (up.bias.new_empty(sizes.upsample_kernel_sizes[stage]).numel() - up.rate) // 2
        x = functional.leaky_relu(x, 0.1)
        x = functional.conv_transpose1d(x, weight(up), up.bias, up.rate, padding)
        total = torch.zeros(())
        for block in generator.resblocks[stage * count : (stage + 1) * count]:
            y = x
            pairs = (
                zip(block.convs1, block.convs2, strict=True)
                if sizes.resblock == "1"
                else ((one,) for one in block.convs)
            )
            for convs in pairs:
                z = y
                for part in convs:
                    z = conv(part, functional.leaky_relu(z, 0.1))
                y = y + z
            total = total + y
        x = total / count
        x = x + speaker[None, :, None] if x.shape[1] == 128 else x
    return torch.tanh(conv(generator.conv_post, functional.leaky_relu(x, 0.1)))[:, 0]


# What the graphs do


def test_graphs_do_what_modules_do(model: Model, tmp_path: Path) -> None:
    for parity in write_graphs(model, tmp_path, "fp32"):
        assert parity.largest < 1e-3, parity
        assert parity.spread > 1e-3, parity
    for parity in check.together(model, tmp_path):
        assert parity.largest < 1e-3, parity


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose state head always says: answer now."""
    folder = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint.write(folder, replace(SMALL, width=32, prompts=3))
    path = folder / "audiollm" / "final.pt"
    tensors = torch.load(path, weights_only=True)
    tensors["predictor_head.weight"] *= 0
    tensors["predictor_head.bias"] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    torch.save(tensors, path)
    return folder


@pytest.fixture(scope="module")
def llm_file(tmp_path_factory: pytest.TempPathFactory, llm_path: Path) -> Path:
    path = tmp_path_factory.mktemp("llm") / "random.gguf"
    random_llm.write(path, random_llm.Sizes(), llm_path)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint: Path, llm_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "converted"
    arguments = ["--checkpoints", checkpoint, "--llm", llm_file, "--out", out, "--check"]
    command = [sys.executable, "-m", "edge_omni", "convert", "freeze-omni", *map(str, arguments)]
    done = subprocess.run(
        [*command, "--graph", "encoder=int8"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "codes to sound" in done.stdout
    return out


def test_every_tensor_is_accounted_for(checkpoint: Path, converted: Path) -> None:
    report = (converted / converter.REPORT).read_text("utf-8")
    for name in torch.load(checkpoint / "audiollm" / "final.pt", weights_only=True):
        assert f"| {name} |" in report
    assert "| task_embeddings.weight | 10 x 128 | left out" in report
    assert "| codec/final.pt | encoder |  | left out" in report


def test_a_converted_bundle_is_heard_and_interrupted(converted: Path, llm_file: Path) -> None:
    """Its words are noise; hearing, deciding, speaking and stopping are real."""
    assistant = Assistant(converted, llm=llm_file, threads=1)
    actions: list[Action] = []
    question = files.read(QUESTION)
    pause = np.zeros(24_000, np.float32)
    device = FileDevice(np.concatenate([question, pause, question, pause]), assistant.sample_rate)
    loop = Loop(assistant, device, Observer(), trace=lambda _, done: actions.extend(done))
    try:
        loop.run()
        positions = [assistant.llm.position(sequence) for sequence in (0, 1)]
    finally:
        assistant.close()
    assert sorted(positions) == [0, assistant.conversation.position]  # no fork is left
    kinds = [type(action) for action in actions]
    assert kinds.count(Answer) >= 2
    assert kinds.index(Yield) > kinds.index(Lower) > kinds.index(Answer)
    assert loop.turns[0].interrupted
    assert loop.turns[-1].text


def test_8_bit_weights_are_a_quarter_and_close(checkpoint: Path, tmp_path: Path) -> None:
    model = read(checkpoint)
    streaming = next(graph for graph in graphs(model) if graph.role == "decoder_step")
    sizes, parities = [], []
    for precision in ("fp32", "int8"):
        path = tmp_path / f"{precision}.onnx"
        streaming.write(path, precision)
        sizes.append(path.stat().st_size)
        parities.append(check.alone(streaming, path, model.codec.n_codes))
    assert sizes[1] < 0.5 * sizes[0]
    assert parities[0].largest < parities[1].largest < 0.3 * parities[1].spread
