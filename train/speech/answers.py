"""The frozen LLM's own spoken answers: sentences to learn from, with the LLM's hidden states.

Many answers are generated side by side in one batch, which costs one core a quarter of the time
that one after another would.

    python -m train.speech.answers --work DIR --llm FILE.gguf --batches 60
"""

from __future__ import annotations

import argparse
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_omni.conversation import ChatLayout
from edge_omni.llm import model_parameters
from train.speech import texts

SYSTEM = "You are a voice assistant. Answer in one or two short, plain, spoken sentences."
QUESTIONS = (
    "What is {thing}?",
    "Tell me something about {place}.",
    "Who was {name}?",
    "How do I learn about {thing}?",
    "Why do people like {thing}?",
    "What should I know before I go to {place}?",
    "Can you explain {thing} to a child?",
    "What is the difference between {thing} and {thing}?",
    "I feel a bit tired today. What can I do?",
    "Give me an idea for dinner with {thing}.",
    "Tell me a short story about {name} and a {thing}.",
    "What do you think of {thing}?",
    "How would you describe {place} to a friend?",
    "Is {thing} expensive?",
    "What is your advice on {thing}?",
)


@dataclass
class Sentence:
    """One sentence of an answer.

    Attributes:
        hidden: float16 [tokens, width], the LLM's hidden state at each of its tokens.
    """

    text: str
    hidden: NDArray[np.float16]


class Generator:
    """Answers many questions at once.

    Args:
        path: the GGUF file.
        width: questions answered side by side.
        limit: tokens of an answer at most.
    """

    def __init__(self, path: Path, width: int, limit: int, threads: int) -> None:
        llama_cpp.llama_log_set(_quiet, None)
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model_parameters())
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = 8192
        options.n_batch = options.n_ubatch = 2048
        options.n_seq_max = width
        options.kv_unified = True
        options.n_threads = options.n_threads_batch = threads
        options.embeddings = True
        options.pooling_type = 0
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._batch = llama_cpp.llama_batch_init(2048, 0, 1)
        self._width, self._limit = width, limit
        self._hidden = int(llama_cpp.llama_model_n_embd(self._model))
        self._vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        template = llama_cpp.llama_model_chat_template(self._model, None).decode()
        self._layout = ChatLayout.from_template(template, SYSTEM)

    def answers(
        self, questions: list[str], seed: int
    ) -> list[tuple[list[bytes], NDArray[np.float16]]]:
        """For each question the pieces of its answer and the hidden state at each."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        rng = np.random.default_rng(seed)
        prompts = [self._tokens(self._layout.opening + q + self._layout.answer) for q in questions]
        rows = [(token, at, s) for s, p in enumerate(prompts) for at, token in enumerate(p)]
        last = np.cumsum([len(p) for p in prompts]) - 1
        self._decode(rows, wanted=set(last.tolist()))
        following = {s: self._sample(int(i), rng) for s, i in enumerate(last)}
        pieces: list[list[bytes]] = [[] for _ in questions]
        hidden: list[list[NDArray[np.float16]]] = [[] for _ in questions]
        for step in range(self._limit):
            following = {
                s: token
                for s, token in following.items()
                if not llama_cpp.llama_vocab_is_eog(self._vocab, token)
            }
            if not following:
                break
            self._decode([(t, len(prompts[s]) + step, s) for s, t in following.items()])
            for i, (s, token) in enumerate(following.items()):
                pieces[s].append(self._piece(token))
                hidden[s].append(self._state(i))
            following = {s: self._sample(i, rng) for i, s in enumerate(following)}
        return [(p, np.stack(h)) for p, h in zip(pieces, hidden, strict=True) if p]

    def _decode(self, rows: list[tuple[int, int, int]], wanted: set[int] | None = None) -> None:
        for i, (token, position, sequence) in enumerate(rows):
            self._batch.token[i] = token
            self._batch.pos[i] = position
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = sequence
            self._batch.logits[i] = wanted is None or i in wanted
        self._batch.n_tokens = len(rows)
        if llama_cpp.llama_decode(self._context, self._batch) != 0:
            raise RuntimeError("llama.cpp could not decode the batch")

    def _sample(self, row: int, rng: np.random.Generator) -> int:
        """Top 30 at temperature 0.8."""
        values = llama_cpp.llama_get_logits_ith(self._context, row)
        logits = np.ctypeslib.as_array(values, shape=(self._vocabulary,))
        top = np.argpartition(logits, -30)[-30:]
        odds = np.exp((logits[top] - logits[top].max()) / 0.8)
        return int(rng.choice(top, p=odds / odds.sum()))

    def _state(self, row: int) -> NDArray[np.float16]:
        values = llama_cpp.llama_get_embeddings_ith(self._context, row)
        return np.ctypeslib.as_array(values, shape=(self._hidden,)).astype(np.float16)

    def _tokens(self, text: str) -> list[int]:
        data = text.encode()
        out = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), out, len(out), False, True)
        return list(out[:count])

    def _piece(self, token: int) -> bytes:
        buffer = (llama_cpp.ctypes.c_char * 128)()
        size = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 128, 0, False)
        return bytes(buffer[: max(size, 0)])


@llama_cpp.llama_log_callback
def _quiet(level: int, text: bytes, data: object) -> None:
    """Drop the message."""


def sentences(pieces: list[bytes], hidden: NDArray[np.float16]) -> list[Sentence]:
    """The whole sentences of an answer that can be read as they stand."""
    raw = b"".join(pieces)
    ends = np.cumsum([len(p) for p in pieces])
    found = []
    for match in re.finditer(rb"[^.!?\n]+[.!?]+(?=\s|$)", raw):
        text = match[0].decode("utf-8", "replace").strip()
        first, last = np.searchsorted(ends, [match.start() + 1, match.end()])
        if texts.speakable(text) and len(text.split()) > 1:
            found.append(Sentence(text, hidden[first : last + 1]))
    return found


def questions(count: int, rng: random.Random) -> list[str]:
    """Questions of many topics."""
    people, places, things = texts.names()
    pick = {"name": people, "place": places, "thing": things}
    return [
        re.sub(r"\{(\w+)\}", lambda match: rng.choice(pick[match[1]]), rng.choice(QUESTIONS))
        for _ in range(count)
    ]


def load(work: Path) -> dict[str, NDArray[np.float16]]:
    """Hidden states of every sentence: float16 [tokens, width]."""
    found: dict[str, NDArray[np.float16]] = {}
    for path in sorted((work / "answers").glob("*.npz")):
        with np.load(path) as batch:
            parts = np.split(batch["hidden"], np.cumsum(batch["counts"])[:-1])
            found.update(zip(map(str, batch["texts"]), parts, strict=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--llm", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--limit", type=int, default=70)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    folder = args.work / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    generator = Generator(args.llm, args.width, args.limit, args.threads)
    for number in tqdm(range(args.batches), desc="answers", unit="batch"):
        path = folder / f"{number:04d}.npz"
        if path.exists():
            continue
        asked = questions(args.width, random.Random(number))
        made = [s for a in generator.answers(asked, number) for s in sentences(*a)]
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(
                file,
                texts=np.array([s.text for s in made]),
                counts=np.array([len(s.hidden) for s in made]),
                hidden=np.concatenate([s.hidden for s in made]),
            )
        partial.rename(path)
    (args.work / "texts" / "answers.txt").write_text("\n".join(load(args.work)) + "\n")


if __name__ == "__main__":
    main()
