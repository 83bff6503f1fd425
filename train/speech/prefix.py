"""The prefix network for one LLM, trained alone: everything else of the speech decoder is frozen.

Sentences that the decoder has learnt to say are said again, now with the LLM's hidden states
(:mod:`train.speech.hidden`) before them. What the codes gain by it, on sentences kept aside, tells
whether it is worth having.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edge_omni.bundle import Bundle
from train.fit import fit
from train.speech import exported
from train.speech.aligned import Aligned
from train.speech.alphabet import CHARACTERS
from train.speech.codec import CODES
from train.speech.decoder import SpeechDecoder
from train.speech.lessons import Batch, Rows, collate, whole
from train.speech.modules import PrefixNetwork

NOISE = 0.12
"""Share of previous codes that are replaced at random, as in :mod:`train.speech.speak`."""
ASIDE = 160
"""Sentences kept aside to stop by, and as many to judge by, at most."""

States = Mapping[str, NDArray[np.float16]]


def split(sentences: Sequence[Aligned]) -> tuple[list[Aligned], list[Aligned], list[Aligned]]:
    """Sentences to train on, to stop by and to judge by, drawn by their texts alone."""
    parts: tuple[list[Aligned], list[Aligned], list[Aligned]] = ([], [], [])
    for sentence in sentences:
        place = zlib.crc32(sentence.text.lower().encode()) % 20
        parts[place if place in (1, 2) else 0].append(sentence)
    return parts[0], parts[1][:ASIDE], parts[2][:ASIDE]


def build(bundle: Bundle, width: int) -> SpeechDecoder:
    """The bundle's speech decoder, frozen, with a new prefix network for hidden states [width].

    What the new network shares in shape with the bundle's own begins as that.
    """
    decoder = SpeechDecoder(len(CHARACTERS), 1, hidden=bundle.manifest.llm.width)
    exported.fill(decoder, bundle.folder)
    decoder.requires_grad_(False)
    writer, old = decoder.writer, decoder.prefix.state_dict()
    fresh = PrefixNetwork(width, writer.embedding.embedding_dim, writer.heads, len(writer.layers))
    new = fresh.state_dict()
    fresh.load_state_dict({n: old[n] if old[n].shape == v.shape else v for n, v in new.items()})
    decoder.prefix = fresh
    return decoder.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def losses(decoder: SpeechDecoder, batch: Batch, noise: float = 0.0) -> Tensor:
    """Cross entropy of each code [B, T], 0 in the padding.

    Gradients reach the prefix network alone.
    """
    device = next(decoder.parameters()).device
    batch = batch.to(device)
    with torch.autocast(device.type, torch.bfloat16):
        with torch.no_grad():
            slots, _ = decoder.text(batch.characters, batch.text_mask)
            steps = torch.arange(batch.there.shape[1], device=device)
            features = decoder.frames(slots, batch.durations, steps, batch.there)
            rows = features.gather(1, batch.where[:, :, None].expand(-1, -1, features.shape[2]))
        swap = torch.rand(batch.previous.shape, device=device) < noise
        previous = torch.where(swap, torch.randint_like(batch.previous, CODES), batch.previous)
        keys, values = decoder.prefix(batch.hidden, batch.prefix_there)
        scores = decoder.writer(previous, rows, keys, values, batch.prefix_mask)
    return functional.cross_entropy(
        scores.float().transpose(1, 2), batch.codes, reduction="none", ignore_index=-100
    )


@torch.no_grad()
def measure(decoder: SpeechDecoder, sentences: Sequence[Aligned], states: States) -> Tensor:
    """The mean loss of the codes of each sentence, said on its own: [sentences].

    Args:
        states: may be empty, for the decoder without a prefix.
    """
    found = torch.zeros(len(sentences))
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i].codes))
    for start in range(0, len(order), 8):
        chosen = order[start : start + 8]
        rows = [[whole(s, states.get(s.text))] for s in (sentences[i] for i in chosen)]
        each = losses(decoder, collate(rows, _width(decoder)))
        counts = torch.tensor([len(sentences[i].codes) for i in chosen])
        found[chosen] = each.sum(1).cpu() / counts
    return found


def train(
    decoder: SpeechDecoder,
    sentences: list[Aligned],
    aside: Sequence[Aligned],
    states: States,
    path: Path,
    *,
    seconds: float,
    every: int = 100,
    count: int = 7,
) -> None:
    """Train the prefix network of ``decoder`` on ``count`` rows at a time, and leave it as it
    measured best on ``aside``."""
    rows = Rows(sentences, states, share=1.0, count=count, width=_width(decoder))

    def loss(batch: Batch) -> Tensor:
        return losses(decoder, batch, NOISE).sum() / (batch.codes >= 0).sum()

    fit(
        decoder.prefix, rows.order(0), rows.make, loss,
        lambda: float(measure(decoder, aside, states).mean()), path,
        seconds=seconds, rate=1e-3, every=every,
    )  # fmt: skip


def _width(decoder: SpeechDecoder) -> int:
    return int(decoder.prefix.enter[0].normalized_shape[0])
