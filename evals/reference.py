"""Freeze-Omni's pipeline in torch, at its shapes: `python -m evals.reference`, started by
evals.bench for bundles that were converted from a checkpoint.

The parts are those that the converter rebuilds, in the reference's precisions (speech parts in 32
bits, the LLM's weights in bfloat16) and in its order: every 160 ms go through encoder, adapter and
LLM; a text chunk goes to the decoder, and 40 codes with 10 more behind them to the codec.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.freeze_omni.codec import folded
from convert.freeze_omni.model import read
from edge_omni.bundle import Bundle
from edge_omni.conversation import Token
from edge_omni.text_chunks import TextChunker
from edge_omni.timeline import Timeline
from edge_omni.token_decoder import plain
from evals.system import CORES, RATE, TOKENS, Task, TurnFigures, measure
from train.llama import Llama, Past

CODES, AHEAD = 40, 10
"""Codes that the codec decodes at a time, and those behind them that it looks at."""


class Reference:
    """The pipeline, without a device."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(CORES)
        self._manifest = Bundle(task.bundle).manifest
        self._model = read(Path(task.checkpoint))
        folded(self._model.vocoder)
        self._llm = Llama(Path(task.llm))
        self._words = llama_cpp.Llama(task.llm, vocab_only=True, verbose=False)
        self._no_code = torch.zeros(1, 0, dtype=torch.int64)

    @torch.no_grad()
    def turn(self, name: str, pcm: NDArray[np.float32]) -> TurnFigures:
        """See `System.turn`."""
        chat = self._manifest.chat
        assert chat.opening is not None
        assert chat.answer is not None
        self._past = Past([], [])
        self._read(self._tokens(chat.opening.format(system=chat.system)))
        listening, backlog = self._listen(pcm)
        figures = TurnFigures(name, len(pcm) / RATE, listening, backlog=backlog)
        timeline = Timeline()
        timeline.decide(0.0)
        begin = time.monotonic()
        hidden = self._read(self._tokens(chat.answer))
        samples = sum(part.shape[1] for part in self._answer(hidden, timeline))
        figures.speaking = backlog + time.monotonic() - begin
        figures.speech = samples / self._model.codec.sampling_rate
        # The last chunk of the question is heard like the others, there is nothing to add.
        marks = {"heard": 0.0, **timeline.marks}
        del marks["end_of_speech"], marks["decision"]
        figures.steps = {step: backlog + seconds for step, seconds in marks.items()}
        return figures

    def _listen(self, pcm: NDArray[np.float32]) -> tuple[float, float]:
        """As `evals.ours.EdgeOmni._listen`, chunk by chunk."""
        chunk = self._manifest.encoder["chunk"]
        encoder = list(self._model.encoder.first_state().values())
        adapter = list(self._model.adapter.first_state().values())
        spent = clock = 0.0
        for start in range(0, len(pcm), chunk):
            piece = np.pad(pcm[start : start + chunk], (0, max(0, start + chunk - len(pcm))))
            begin = time.monotonic()
            frames, *encoder = self._model.encoder(torch.from_numpy(piece)[None], *encoder)
            rows, *adapter = self._model.adapter(frames, *adapter)
            self._read(rows)
            cost = time.monotonic() - begin
            spent += cost
            clock = max(clock, min(start + chunk, len(pcm)) / RATE) + cost
        return spent, max(0.0, clock - len(pcm) / RATE)

    def _answer(self, hidden: Tensor, timeline: Timeline) -> Iterator[Tensor]:
        """The sound of an answer, piece by piece."""
        chunker = TextChunker(self._manifest.speech)
        for _ in range(TOKENS):
            token = int((hidden[0, -1:] @ self._llm.output.T).argmax())
            if token == self._words.token_eos():
                break
            hidden = self._read([token])
            timeline.mark("first_token")
            text = self._words.detokenize([token]).decode("utf-8", "replace")
            chunk = chunker.push(Token(text, hidden[0, -1].float().numpy()))
            if chunk is not None:
                timeline.mark("first_text_chunk")
                yield from self._speak(chunk.text, chunk.hidden, timeline)
        chunk = chunker.finish()
        if chunk is not None:
            timeline.mark("first_text_chunk")
            yield from self._speak(chunk.text, chunk.hidden, timeline)

    def _speak(
        self, text: str, hidden: NDArray[np.float32], timeline: Timeline
    ) -> Iterator[Tensor]:
        decoder, config = self._model.decoder, self._manifest.decoder
        keys = values = torch.zeros(self._model.prefix_shape())
        if decoder.sizes.prefix:
            keys, values = decoder.prefix(torch.from_numpy(hidden)[None])
        rows = decoder.text(self._llm.embeddings[self._tokens(plain(text))][None].float())
        position = torch.zeros(1, dtype=torch.int64)
        _, keys, values, position = decoder.step(rows, self._no_code, keys, values, position)
        timeline.mark("prefill")
        code, codes, left = config["begin"], [], 0
        for _ in range(config["longest"]):
            scores, keys, values, position = decoder.step(
                rows[:, :0], torch.tensor([[code]]), keys, values, position
            )
            likely = scores[0, [*range(config["codes"]), config["end"]]].topk(config["top_k"])
            drawn = int(likely.indices[likely.values.softmax(0).multinomial(1)])
            if drawn == config["codes"]:
                break
            timeline.mark("first_codec_token")
            code = drawn
            codes.append(code)
            if len(codes) == left + CODES + AHEAD:
                yield self._sound(codes, left, AHEAD, timeline)
                left, codes = AHEAD, codes[-2 * AHEAD :]
        if len(codes) > left:
            yield self._sound(codes, left, 0, timeline)

    def _sound(self, codes: list[int], left: int, right: int, timeline: Timeline) -> Tensor:
        """Sound [1, n] of codes, without what was decoded for its sake on either side."""
        vocoder, settings = self._model.vocoder, self._manifest.vocoder
        per = settings["samples_per_code"]
        outside = -(-settings["delay"] // per)
        first = vocoder.first_state()
        padded = torch.tensor([[*codes, *[-1] * outside]])
        sound, *_ = vocoder(padded, *first.values())
        end = settings["delay"] + (len(codes) - right) * per
        timeline.mark("first_pcm")
        return sound[:, settings["delay"] + left * per : end]

    def _tokens(self, text: str) -> list[int]:
        return self._words.tokenize(text.encode(), add_bos=False, special=True)

    def _read(self, items: list[int] | Tensor) -> Tensor:
        rows = items if isinstance(items, Tensor) else self._llm.embeddings[items][None]
        return self._llm.read(rows, self._past)


if __name__ == "__main__":
    measure(Reference)
