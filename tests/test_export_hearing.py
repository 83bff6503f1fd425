"""The exported graphs compute what the torch modules do, and what is quantised stays close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_hearing import END, PROMPT, WIDTH, Parts, noise

from convert import hearing
from edge_omni.graph import Graph
from train.hearing.encoder import FRAME

TOKENS = torch.tensor([[*PROMPT, 4, 5, 6, 7]])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("hearing"))


def test_the_encoder_chunk_by_chunk_equals_torch_on_the_whole(parts: Parts) -> None:
    pcm = noise(9.6)
    with torch.no_grad():
        good, middle, newest = parts.encoder.stages(torch.from_numpy(pcm)[None])
    encoder, chunk = parts.runtime_encoder(), parts.encoder.sizes.chunk
    pieces = [encoder.push(piece) for piece in np.split(pcm, len(pcm) // encoder.chunk)]
    final = np.concatenate([piece.final for piece in pieces])
    assert final.shape == (len(pcm) // FRAME - 2 * chunk, WIDTH)
    np.testing.assert_allclose(final, good[0, : -2 * chunk].numpy(), atol=1e-3)
    for stage, behind in ((middle, 2 * chunk), (newest, chunk)):
        # Only the third chunk stands behind a whole window.
        heard = [piece.provisional[-behind:][:chunk] for piece in pieces[2:]]
        wanted = stage[0, 3 * chunk - behind :][: chunk * len(heard)]
        np.testing.assert_allclose(np.concatenate(heard), wanted.numpy(), atol=1e-3)
    np.testing.assert_array_equal(encoder.flush().final, pieces[-1].provisional)


def test_memory_and_step_equal_torch_in_whatever_pieces_they_are_fed(parts: Parts) -> None:
    frames = torch.randn(1, 48, WIDTH)
    with torch.no_grad():
        memory = parts.decoder.memory(frames)
        hidden, _, attention = parts.decoder(TOKENS, memory, parts.decoder.first_past())
    graph, step = parts.graph("adapter_memory"), parts.graph("adapter_step")
    state = graph.start()
    for start in range(0, 48, 16):
        _, state = graph(state, frames=frames[:, start : start + 16].numpy())
    np.testing.assert_allclose(state["memory"].numpy(), memory.numpy(), atol=1e-3)
    past, seen = step.start(), []
    for piece in (TOKENS[:, :3], TOKENS[:, 3:4], TOKENS[:, 4:]):
        outputs, past = step(past, tokens=piece.numpy(), memory=state["memory"])
        seen.append({name: value.numpy() for name, value in outputs.items()})
    for name, wanted in (("hidden", hidden), ("attention", attention)):
        together = np.concatenate([piece[name] for piece in seen], axis=1)
        np.testing.assert_allclose(together, wanted.numpy(), atol=1e-3)


def test_special_tokens_are_never_chosen_but_the_end_may_be(parts: Parts) -> None:
    graph, step = parts.graph("adapter_memory"), parts.graph("adapter_step")
    _, state = graph(graph.start(), frames=np.zeros((1, 16, WIDTH), np.float32))
    outputs, _ = step(step.start(), tokens=TOKENS.numpy(), memory=state["memory"])
    probabilities = dict.fromkeys(range(parts.decoder.sizes.vocabulary), 0.0)
    ids, weights = outputs["top_ids"].numpy().ravel(), outputs["top_probs"].numpy().ravel()
    for token, weight in zip(ids, weights, strict=True):
        probabilities[int(token)] += float(weight)
    assert all(probabilities[token] == 0 for token in PROMPT)
    assert END not in PROMPT


def test_quantised_graphs_stay_close_and_store_the_embedding_once(
    parts: Parts, tmp_path: Path
) -> None:
    path = tmp_path / "adapter_step.onnx"
    path.write_bytes((parts.folder / path.name).read_bytes())
    hearing.quantise(path)
    size = parts.decoder.embedding.numel()
    constants = onnx.load(str(path)).graph.initializer
    stored = [item for item in constants if np.prod(item.dims) == size]
    assert [item.data_type for item in stored] == [onnx.TensorProto.UINT8]
    memory = parts.decoder.memory(torch.randn(1, 32, WIDTH)).detach().numpy()
    both = [
        graph(graph.start(), tokens=TOKENS.numpy(), memory=memory)[0]["hidden"].numpy()
        for graph in (parts.graph("adapter_step"), Graph(path))
    ]
    error = np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[0])
    assert error < 0.05
