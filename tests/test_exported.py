"""A bundle is its own checkpoint: its weights come back into the modules that they came from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convert.decoder import Prefix, Text
from edge_omni.graph import Graph
from train.hearing import exported as hearing
from train.hearing.decoder import Decoder, DecoderSizes
from train.hearing.encoder import Encoder
from train.speech import exported as speech
from train.speech.alphabet import CHARACTERS
from train.speech.codec import Codec
from train.speech.decoder import SpeechDecoder

TINY = Path(__file__).parents[1] / "models" / "tiny"
TOKENS = [[3, 14, 15, 92, 65]]


class Hearing(nn.Module):
    """The modules that the graphs were exported from."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(DecoderSizes(vocabulary=vocabulary))


def test_hearing_goes_on_from_the_graphs() -> None:
    model = Hearing(38494)
    hearing.load(TINY, model)
    pcm = (0.1 * np.random.default_rng(0).standard_normal((1, 5120))).astype(np.float32)
    graph = Graph(TINY / "encoder.onnx")
    heard = graph(graph.start(), pcm=pcm)[0]["frames"].numpy()
    with torch.no_grad():
        frames, _ = model.encoder.step(torch.from_numpy(pcm), model.encoder.first_state())
    # The graph rounds activations to 8 bits as well.
    assert np.square(heard - frames.numpy()).mean() < 0.01 * frames.var().item()
    memory, step = Graph(TINY / "adapter_memory.onnx"), Graph(TINY / "adapter_step.onnx")
    _, state = memory(memory.start(), frames=heard)
    outputs, _ = step(step.start(), tokens=np.array(TOKENS), memory=state["memory"])
    with torch.no_grad():
        seen = model.decoder.memory(torch.from_numpy(heard))
        hidden, _, _ = model.decoder(torch.tensor(TOKENS), seen, model.decoder.first_past())
    assert np.square(outputs["hidden"].numpy() - hidden.numpy()).mean() < 0.02 * hidden.var().item()


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decoder\.embedding"):
        hearing.load(TINY, Hearing(12))
    with pytest.raises(ValueError, match=r"text\.embedding\.weight"):
        speech.fill(SpeechDecoder(12, 3), TINY)


def test_speaking_goes_on_from_the_graphs() -> None:
    decoder = SpeechDecoder(len(CHARACTERS), 50).eval()
    filled = speech.fill(decoder, TINY)
    left = set(decoder.state_dict()) - set(filled)
    assert {name.split(".")[0] for name in left} == {"text", "guess"}
    characters = np.random.default_rng(0).integers(3, len(CHARACTERS), (1, 30))
    said, _ = Graph(TINY / "decoder_text.onnx")({}, characters=characters)
    hidden = np.random.default_rng(1).standard_normal((1, 9, 576)).astype(np.float32)
    before, _ = Graph(TINY / "decoder_prefix.onnx")({}, hidden=hidden)
    with torch.no_grad():
        steps = torch.arange(said["features"].shape()[1])
        features, durations = Text(decoder)(torch.from_numpy(characters), steps)
        keys, _ = Prefix(decoder)(torch.from_numpy(hidden))
    np.testing.assert_allclose(said["features"].numpy(), features.numpy(), atol=1e-3)
    np.testing.assert_allclose(said["durations"].numpy(), durations.numpy(), atol=1e-3)
    np.testing.assert_allclose(before["prefix_keys"].numpy(), keys.numpy(), atol=1e-3)


def test_the_codec_comes_back_but_for_its_encoder() -> None:
    codec = Codec()
    left = set(codec.state_dict()) - set(speech.fill(codec, TINY, "codec."))
    assert all(name.startswith(("encoder.", "quantiser.")) for name in left)
    assert codec.quantiser.book.std() > 0
    assert "quantiser.book" not in left
