"""An LLM in llama.cpp that reads and writes many answers side by side.

One core does so in a fraction of the time that one answer after another would take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_omni.conversation import ChatLayout
from edge_omni.llm import LLM

TOKENS, ANSWERS = 512, 64
"""Tokens that are read at once, and answers side by side, at most."""


class BatchedLLM(LLM):
    """A frozen LLM and its chat layout.

    Args:
        path: the GGUF file.
        system: the system prompt, which stands before every request.
        context: tokens of memory, of all answers together.

    Attributes:
        opening: tokens before a request.
        header: tokens between request and answer.
    """

    def __init__(self, path: Path, system: str, *, context: int = 2048, threads: int = 1) -> None:
        super().__init__(path, context=context, sequences=ANSWERS + 1, threads=threads)
        layout = ChatLayout.from_template(self.chat_template or "", system)
        self.opening = self.tokenize(layout.opening, special=True)
        if self.bos is not None and self.opening[:1] != [self.bos]:
            self.opening.insert(0, self.bos)
        self.header = self.tokenize(layout.answer, special=True)

    def read(self, request: str, answers: Sequence[Sequence[int]]) -> list[NDArray[np.float16]]:
        """Hidden states after the final norm, at each token of each answer to ``request``.

        Args:
            answers: tokens, at most ``TOKENS`` in all.

        Returns:
            float16 [tokens, width] for each answer.
        """
        self._open([*self.opening, *self.tokenize(request), *self.header], len(answers))
        count = self._extend(answers, every=True)
        values = llama_cpp.llama_get_embeddings(self._context)
        states = np.ctypeslib.as_array(values, shape=(count, self.width)).astype(np.float16)
        return np.split(states, np.cumsum([len(answer) for answer in answers])[:-1])

    def write(
        self,
        requests: Sequence[Sequence[int]],
        limit: int,
        choose: Callable[[NDArray[np.float32]], int],
    ) -> list[list[int]]:
        """Answers to requests, both as tokens.

        Args:
            requests: at most ``TOKENS`` in all, headers included.
            limit: tokens of an answer at most; the token that ends it is one of them.
            choose: the next token, by the scores of all [vocabulary].
        """
        self._open(self.opening, len(requests))
        answers: list[list[int]] = [[] for _ in requests]
        following: list[list[int]] = [[*request, *self.header] for request in requests]
        for _ in range(limit):
            self._extend(following, every=False)
            writing = [i for i, tokens in enumerate(following) if tokens]
            rows = np.cumsum([len(following[i]) for i in writing]) - 1
            for i, row in zip(writing, rows, strict=True):
                values = llama_cpp.llama_get_logits_ith(self._context, int(row))
                token = choose(np.ctypeslib.as_array(values, shape=(self.vocabulary,)))
                answers[i].append(token)
                following[i] = [] if self.ends_answer(token) else [token]
            if not any(following):
                break
        return answers

    def _open(self, tokens: Sequence[int], count: int) -> None:
        """Forget everything, and let ``count`` sequences begin with the same tokens."""
        llama_cpp.llama_memory_clear(self._memory, True)
        llama_cpp.llama_set_embeddings(self._context, True)
        self._positions = [0] * len(self._positions)
        self.append(tokens)
        for sequence in range(1, count + 1):
            self.fork(0, sequence)

    def _extend(self, items: Sequence[Sequence[int]], every: bool) -> int:
        """Read on in each sequence, from the first; how many tokens were read.

        Args:
            every: results are wanted of every token, not only of the last of each sequence.
        """
        batch, row = self._tokens, 0
        for sequence, tokens in enumerate(items, 1):
            for i, token in enumerate(tokens):
                batch.token[row], batch.pos[row] = token, self._positions[sequence] + i
                batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
                batch.logits[row] = every or i == len(tokens) - 1
                row += 1
            self._positions[sequence] += len(tokens)
        batch.n_tokens = row
        # Where hidden states are wanted, llama.cpp computes the scores of every token as well.
        llama_cpp.llama_set_embeddings(self._context, every)
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError(f"llama.cpp could not read {row} tokens at once")
        return row


def batches(sizes: Sequence[int]) -> list[slice]:
    """Runs of items that fit into one batch, by their numbers of tokens."""
    found, start, total = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and (total + size > TOKENS or i - start == ANSWERS):
            found.append(slice(start, i))
            start, total = i, 0
        total += size
    return [*found, slice(start, len(sizes))] if sizes else []
