"""The frozen LLM: any GGUF file, run by llama.cpp through its low-level interface.

Tokens and embeddings enter through the same batch and the file is only ever read. A *sequence* is
one line of memory; sequences can be copied (a fork costs nothing until it is written to), rewound
to an earlier position and have a span dropped from their middle.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_omni.embedding_table import EmbeddingTable
from edge_omni.errors import LLMError
from edge_omni.gguf_file import GGUFFile
from edge_omni.row_scale import LEAST, difference, row_scale
from edge_omni.sampling import Sampling as Sampling
from edge_omni.sampling import sampler
from edge_omni.tokenizer import Tokenizer

_POOLING_NONE = 0
_MULTI_AXIS = (llama_cpp.LLAMA_ROPE_TYPE_MROPE, llama_cpp.LLAMA_ROPE_TYPE_IMROPE)


class LLM(Tokenizer):
    """A GGUF language model and its memory.

    Args:
        path: the GGUF file, or any part of one that is split.
        context: tokens of memory, shared by all sequences.
        sequences: how many lines of memory there are.
        gpu_layers: layers to run on a GPU, -1 for all.
        threads: CPU threads; all cores when None.
        verbose: whether llama.cpp may write its own messages to the terminal.

    Attributes:
        path: the GGUF file, the first part of it where it is split.
        width: size of an input embedding and of a hidden state.
        row_scale: what rows of the file's table are multiplied by to be read as their tokens are.
        row_error: the largest difference that is left between hidden states after tokens and after
            their rows, over the standard deviation of the former; infinite where rows cannot enter.
        rows_alike: whether rows are read as their tokens are.
        row_problem: why rows are not read as their tokens are, if so.
        can_shift: whether a span can be dropped from the middle of the memory.

    Raises:
        LLMError: the file is missing, damaged, no LLM, or too large for this machine.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 2048,
        sequences: int = 2,
        gpu_layers: int = 0,
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        file = GGUFFile(path)
        self.path = file.shards[0]
        if reason := file.why_no_llm():
            raise LLMError(f"{path} is {reason}. Give an instruction-tuned LLM.")
        self._table = EmbeddingTable(file)
        if not verbose:
            silence_native_logs()
        llama_cpp.llama_backend_init()
        model_options = model_parameters()
        model_options.n_gpu_layers = gpu_layers
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(self.path), model_options)
        if not self._model:
            raise LLMError(
                f"llama.cpp cannot load {path}: the file is damaged, of a kind it does not know, "
                "or larger than the free memory. --verbose shows what it says."
            )
        super().__init__(llama_cpp.llama_model_get_vocab(self._model))
        if llama_cpp.llama_model_has_encoder(self._model):
            raise LLMError(
                f"{path} has an encoder of its own: it translates one text into another and holds "
                "no talk. Give a decoder-only LLM."
            )
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = context
        options.n_batch = options.n_ubatch = min(512, context)
        options.n_seq_max = sequences
        options.kv_unified = True
        options.n_threads = options.n_threads_batch = threads or os.cpu_count() or 1
        options.embeddings = True
        options.pooling_type = _POOLING_NONE
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        if not self._context:
            raise LLMError(
                f"There is not enough memory for {context} tokens of context with {path}. "
                "Close other programs or choose a smaller LLM."
            )
        self._memory = llama_cpp.llama_get_memory(self._context)
        self.context = context
        self.width = int(llama_cpp.llama_model_n_embd(self._model))
        self._batch_size = int(options.n_batch)
        # Rows of an LLM with M-RoPE have four positions each (time, height, width and none).
        self._axes = 4 if llama_cpp.llama_model_rope_type(self._model) in _MULTI_AXIS else 1
        self._tokens = llama_cpp.llama_batch_init(self._batch_size, 0, 1)
        self._embeddings = llama_cpp.llama_batch_init(self._batch_size * self._axes, self.width, 1)
        self._embedding_rows = np.ctypeslib.as_array(
            self._embeddings.embd, shape=(self._batch_size, self.width)
        )
        self._positions = [0] * sequences
        self.newest = 0
        self._sampler: ctypes.c_void_p | None = None
        self.can_shift = bool(llama_cpp.llama_memory_can_shift(self._memory))
        self._compare_rows()

    def _compare_rows(self) -> None:
        """Read a token as a token and as a row."""
        token = self.tokenize("What")[:1] or [0]
        by_token = self.append(token)
        self.rewind(0)

        def error(scale: float) -> float:
            by_row = self.append(self._table(token) * np.float32(scale))
            self.rewind(0)
            return difference(by_row, by_token)

        self.row_scale, self.row_error, self.row_problem = 1.0, math.inf, self._table.problem
        if llama_cpp.llama_model_n_embd_inp(self._model) != self.width:
            self.row_problem = "it takes more than one embedding for a token"
        if self.row_problem is None:
            self.row_scale, self.row_error = row_scale(error, self.width)
        self.rows_alike = self.row_error <= LEAST
        if not self.rows_alike and self.row_problem is None:
            self.row_problem = "it reads embeddings otherwise than its tokens"

    def embedding_rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings of ``tokens`` as the LLM is to be handed them: float32 [n, width].

        Raises:
            LLMError: the file holds them in a form that cannot be read here.
        """
        rows = self._table(tokens)
        return rows if self.row_scale == 1.0 else rows * np.float32(self.row_scale)

    def close(self) -> None:
        """Free the memory that llama.cpp holds. The object cannot be used afterwards."""
        if self._context:
            self._free_sampler()
            llama_cpp.llama_batch_free(self._tokens)
            llama_cpp.llama_batch_free(self._embeddings)
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._model)
            self._context = self._model = None

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that the publisher put in the file."""
        text = llama_cpp.llama_model_chat_template(self._model, None)
        return text.decode("utf-8") if text else None

    # Memory

    def position(self, sequence: int = 0) -> int:
        """How many tokens ``sequence`` holds."""
        return self._positions[sequence]

    def append(
        self, items: Sequence[int] | NDArray[np.float32], *, sequence: int = 0
    ) -> NDArray[np.float32]:
        """Put tokens, or embeddings [n, width], at the end of a sequence.

        Returns:
            Hidden state after the last of them, after the final norm: float32 [width].

        Raises:
            LLMError: the memory is full; drop something first.
        """
        if len(items) == 0:
            raise ValueError("nothing to append")
        if self.position(sequence) + len(items) > self.context:
            raise LLMError(f"The LLM's memory of {self.context} tokens is full.")
        for start in range(0, len(items), self._batch_size):
            self._decode(items[start : start + self._batch_size], sequence)
        last = llama_cpp.llama_get_embeddings_ith(self._context, -1)
        return _copied(last, self.width)

    def scores(self, tokens: Sequence[int], *, sequence: int = 0) -> NDArray[np.float32]:
        """Put tokens at the end of a sequence, as :meth:`append` does.

        Returns:
            Scores of every token to come after each of them: float32 [n, vocabulary].
        """
        found = np.empty((len(tokens), self.vocabulary), np.float32)
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            self._decode(part, sequence, every=True)
            for i in range(len(part)):
                values = llama_cpp.llama_get_logits_ith(self._context, i)
                found[start + i] = np.ctypeslib.as_array(values, shape=(self.vocabulary,))
        return found

    def _decode(
        self, items: Sequence[int] | NDArray[np.float32], sequence: int, *, every: bool = False
    ) -> None:
        """Read items, and keep what comes after the last of them, or after ``every`` one."""
        count = len(items)
        if isinstance(items, np.ndarray):
            batch = self._embeddings
            self._embedding_rows[:count] = items
        else:
            batch = self._tokens
            for i, token in enumerate(items):
                batch.token[i] = token
        first = self._positions[sequence]
        for i in range(count):
            batch.pos[i] = first + i
            if batch.embd:
                for axis in range(1, self._axes):
                    batch.pos[axis * count + i] = first + i if axis < 3 else 0
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = every or i == count - 1
        batch.n_tokens = count
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            self.rewind(first, sequence=sequence)
            raise LLMError(f"llama.cpp could not go on (code {status}): its memory is full.")
        self._positions[sequence] = first + count
        self.newest = sequence

    def rewind(self, position: int, *, sequence: int = 0) -> None:
        """Forget everything in ``sequence`` from ``position`` on.

        Raises:
            LLMError: this LLM's memory can only be forgotten as a whole.
        """
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1):
            raise LLMError(
                f"What {self.path.name} has read cannot be taken back: its memory is one running "
                "state (a recurrent or hybrid LLM). Use an LLM that only has attention."
            )
        self._positions[sequence] = position

    def fork(self, source: int, target: int) -> None:
        """Make ``target`` a copy of ``source``. The cells are shared, nothing is computed."""
        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._positions[target] = self._positions[source]

    def drop(self, start: int, end: int, *, sequence: int = 0) -> None:
        """Forget the span [start, end) of ``sequence`` and close the gap.

        Raises:
            LLMError: this LLM's memory has no gaps that could be closed.
        """
        if not self.can_shift or not llama_cpp.llama_memory_seq_rm(
            self._memory, sequence, start, end
        ):
            raise LLMError(
                f"The conversation is longer than the memory of {self.context} tokens, and "
                f"{self.path.name} can drop nothing from the middle of it. Start a new one, or use "
                "another LLM."
            )
        llama_cpp.llama_memory_seq_add(self._memory, sequence, end, -1, start - end)
        self._positions[sequence] -= end - start

    # The next token

    def begin_sampling(self, sampling: Sampling, seed: int, said: Sequence[int] = ()) -> None:
        """Choose how :meth:`sample` chooses, with a fresh random state; ``said`` are the tokens
        that are not to be repeated too soon."""
        self._free_sampler()
        self._sampler = sampler(sampling, seed, said, self.vocabulary)

    def sample(self) -> int:
        """The next token after what was appended last."""
        if self._sampler is None:
            self.begin_sampling(Sampling(), 0)
        return int(llama_cpp.llama_sampler_sample(self._sampler, self._context, -1))

    def logits(self) -> NDArray[np.float32]:
        """Scores of every token to come next: float32 [vocabulary]."""
        values = llama_cpp.llama_get_logits_ith(self._context, -1)
        return _copied(values, self.vocabulary)

    def _free_sampler(self) -> None:
        if self._sampler is not None:
            llama_cpp.llama_sampler_free(self._sampler)
            self._sampler = None


def model_parameters() -> Any:
    """llama.cpp's parameters for loading a model, without what crashes.

    Its kernels for Intel's AMX end the process with an illegal instruction on many machines
    (llama.cpp, pull request 26954). A build that has them is kept from repacking weights for them.
    """
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
    return parameters


def log_probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of every token, float32 [n, vocabulary], as log probabilities in nats."""
    above: NDArray[np.float32] = scores - scores.max(axis=1, keepdims=True)
    logs: NDArray[np.float32] = above - np.log(np.exp(above).sum(axis=1, keepdims=True))
    return logs


def _copied(values: Any, size: int) -> NDArray[np.float32]:
    """What llama.cpp will overwrite at its next step."""
    view: NDArray[np.float32] = np.ctypeslib.as_array(values, shape=(size,))
    return np.array(view)


def silence_native_logs() -> None:
    """Keep llama.cpp's own messages off the terminal."""
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))


# Kept here because llama.cpp keeps only its address.
_quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
