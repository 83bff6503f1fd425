"""What the LLM thinks while it says the sentences that the decoder learns from.

No answer is generated. The LLM reads each sentence as its own answer to a request, in its own chat
layout, as :meth:`edge_omni.conversation.Conversation.say` has it read one: many answers side by
side in one batch, so that it costs no more than reading a prompt.

    python -m train.speech.hidden --work DIR --llm FILE.gguf
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_omni.bundle import Bundle
from edge_omni.conversation import ChatLayout
from edge_omni.llm import LLM, silence_native_logs
from train.speech import aligned

REQUESTS = (
    "Tell me something.",
    "What do you know about it?",
    "Say that again, please.",
    "Go on, I am listening.",
    "Can you give me an example?",
    "What is the answer?",
    "Explain it to me.",
    "Why do you think so?",
)
TOGETHER = 2
"""Sentences of one answer: every other one opens it, and every other one goes on in it."""
BATCH, SEQUENCES = 512, 64
"""Tokens that are read at once, and answers at most."""


class Reader(LLM):
    """An LLM that reads many answers side by side.

    Args:
        path: the GGUF file.
        system: the system prompt.
    """

    def __init__(self, path: Path, system: str, threads: int) -> None:
        super().__init__(path, context=2 * BATCH, sequences=SEQUENCES + 1, threads=threads)
        self._layout = ChatLayout.from_template(self.chat_template or "", system)
        self._bos = [] if self.bos is None else [self.bos]

    def read(self, request: str, answers: Sequence[Sequence[int]]) -> list[NDArray[np.float16]]:
        """Hidden states after the final norm, at each token of each answer to ``request``.

        Args:
            answers: tokens, at most ``BATCH`` in all and ``SEQUENCES`` answers.

        Returns:
            float16 [tokens, width] for each answer.
        """
        llama_cpp.llama_memory_clear(self._memory, True)
        self._positions = [0] * len(self._positions)
        opening = self._opening(request)
        self.append(opening)
        batch, row = self._tokens, 0
        for sequence, tokens in enumerate(answers, 1):
            self.fork(0, sequence)
            for place, token in enumerate(tokens, len(opening)):
                batch.token[row], batch.pos[row] = token, place
                batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
                batch.logits[row] = True
                row += 1
        batch.n_tokens = row
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError(f"llama.cpp could not read {row} tokens at once")
        values = llama_cpp.llama_get_embeddings(self._context)
        states = np.ctypeslib.as_array(values, shape=(row, self.width)).astype(np.float16)
        return np.split(states, np.cumsum([len(tokens) for tokens in answers])[:-1])

    def _opening(self, request: str) -> list[int]:
        """System prompt, request and the answer's header."""
        parts = self._layout.opening, request, self._layout.answer
        tokens = [t for part in parts for t in self.tokenize(part, special=part is not request)]
        return tokens if tokens[:1] == self._bos else [*self._bos, *tokens]


def sentences(reader: Reader, texts: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """Each sentence and the hidden states at its tokens, in order."""
    groups = [texts[i : i + TOGETHER] for i in range(0, len(texts), TOGETHER)]
    answers = [
        [reader.tokenize(" " * (i > 0) + text) for i, text in enumerate(group)] for group in groups
    ]
    dice = random.Random(0)
    for start, stop in _batches([sum(map(len, answer)) for answer in answers]):
        together = [[t for part in answer for t in part] for answer in answers[start:stop]]
        found = reader.read(dice.choice(REQUESTS), together)
        for group, answer, states in zip(
            groups[start:stop], answers[start:stop], found, strict=True
        ):
            ends = np.cumsum([len(part) for part in answer])[:-1]
            yield from zip(group, np.split(states, ends), strict=True)


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of answers that are read at once: first of each, and the one after its last."""
    start = total = 0
    for i, size in enumerate(sizes):
        if i > start and (total + size > BATCH or i - start == SEQUENCES):
            yield start, i
            start, total = i, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


def save(path: Path, states: Sequence[tuple[str, NDArray[np.float16]]]) -> None:
    """Write one shard."""
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        texts=np.array([text for text, _ in states]),
        counts=np.array([len(hidden) for _, hidden in states]),
        hidden=np.concatenate([hidden for _, hidden in states]),
    )
    partial.rename(path)


def load(folder: Path) -> dict[str, NDArray[np.float16]]:
    """Hidden states of every sentence in the shards of ``folder``: float16 [tokens, width]."""
    found: dict[str, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as shard:
            parts = np.split(shard["hidden"], np.cumsum(shard["counts"])[:-1])
            found.update(zip(map(str, shard["texts"]), parts, strict=True))
    return found


def prepare(llm: Path, system: str, shards: Path, out: Path, threads: int) -> None:
    """Read every sentence of the aligned shards; may be stopped and started again.

    Args:
        shards: the folder ``aligned`` of :mod:`train.speech.aligned`.
        out: gets one file for each of them, which belong to this LLM alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [path for path in sorted(shards.glob("*.npz")) if not (out / path.name).exists()]
    if not missing:
        return
    reader = Reader(llm, system, threads)
    try:
        for path in tqdm(missing, desc="hidden states", unit="shard"):
            texts = [sentence.text for sentence in aligned.load(path)]
            save(out / path.name, list(sentences(reader, texts)))
    finally:
        reader.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--llm", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder for the shards; WORK/hidden if not given")
    parser.add_argument("--bundle", default="tiny", help="its system prompt is used")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    silence_native_logs()
    system = Bundle(args.bundle).manifest.chat.system
    out = args.out or args.work / "hidden"
    prepare(args.llm, system, args.work / "aligned", out, args.threads)


if __name__ == "__main__":
    main()
