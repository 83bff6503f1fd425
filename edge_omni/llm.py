"""The frozen LLM: any GGUF file, run by llama.cpp through its low-level interface.

Tokens and embeddings enter through the same batch and the file is only ever read. A *sequence* is
one line of memory; sequences can be copied (a fork costs nothing until it is written to), rewound
to an earlier position and have a span dropped from their middle.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_omni.embedding_table import EmbeddingTable
from edge_omni.errors import LLMError, UsageError

_POOLING_NONE = 0


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy: always the likeliest token."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    repeat_penalty: float = 1.0
    repeat_last: int = 64


class LLM:
    """A GGUF language model and its memory.

    Args:
        path: the GGUF file.
        context: tokens of memory, shared by all sequences.
        sequences: how many lines of memory there are.
        gpu_layers: layers to run on a GPU, -1 for all.
        threads: CPU threads; all cores when None.
        verbose: whether llama.cpp may write its own messages to the terminal.

    Attributes:
        width: size of an input embedding and of a hidden state.

    Raises:
        LLMError: the file is missing, damaged, or too large for this machine.
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
        if not path.is_file():
            raise LLMError(f"There is no LLM file {path}. Check the path given with --llm.")
        self.path = path
        self.embedding_rows = EmbeddingTable(path)
        if not verbose:
            silence_native_logs()
        llama_cpp.llama_backend_init()
        model_options = model_parameters()
        model_options.n_gpu_layers = gpu_layers
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model_options)
        if not self._model:
            raise LLMError(
                f"llama.cpp cannot load {path}: the file is damaged, of a kind it does not know, "
                "or larger than the free memory. --verbose shows what it says."
            )
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
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
        self.vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._batch_size = int(options.n_batch)
        self._tokens = llama_cpp.llama_batch_init(self._batch_size, 0, 1)
        self._embeddings = llama_cpp.llama_batch_init(self._batch_size, self.width, 1)
        self._embedding_rows = np.ctypeslib.as_array(
            self._embeddings.embd, shape=(self._batch_size, self.width)
        )
        self._positions = [0] * sequences
        self.newest = 0
        self._sampler: ctypes.c_void_p | None = None

    def close(self) -> None:
        """Free the memory that llama.cpp holds. The object cannot be used afterwards."""
        if self._context:
            self._free_sampler()
            llama_cpp.llama_batch_free(self._tokens)
            llama_cpp.llama_batch_free(self._embeddings)
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._model)
            self._context = self._model = None

    # Text and tokens

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that the publisher put in the file."""
        text = llama_cpp.llama_model_chat_template(self._model, None)
        return text.decode("utf-8") if text else None

    @property
    def bos(self) -> int | None:
        """The token that must open every text, where this LLM wants one."""
        if not llama_cpp.llama_vocab_get_add_bos(self._vocab):
            return None
        return int(llama_cpp.llama_vocab_bos(self._vocab))

    def tokenize(self, text: str | bytes, *, special: bool = False) -> list[int]:
        """Tokens of ``text``; ``special`` reads markers such as ``<|im_end|>`` as one token."""
        data = text.encode("utf-8") if isinstance(text, str) else text
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
        return list(tokens[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that ``token`` stands for; nothing for a marker unless ``special``."""
        room = 256
        buffer = ctypes.create_string_buffer(room)
        size = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
        return buffer.raw[: max(size, 0)]

    def ends_answer(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

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

    def _decode(self, items: Sequence[int] | NDArray[np.float32], sequence: int) -> None:
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
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i == count - 1
        batch.n_tokens = count
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            self.rewind(first, sequence=sequence)
            raise LLMError(f"llama.cpp could not go on (code {status}): its memory is full.")
        self._positions[sequence] = first + count
        self.newest = sequence

    def rewind(self, position: int, *, sequence: int = 0) -> None:
        """Forget everything in ``sequence`` from ``position`` on."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1)
        self._positions[sequence] = position

    def fork(self, source: int, target: int) -> None:
        """Make ``target`` a copy of ``source``. The cells are shared, nothing is computed."""
        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._positions[target] = self._positions[source]

    def drop(self, start: int, end: int, *, sequence: int = 0) -> None:
        """Forget the span [start, end) of ``sequence`` and close the gap."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, end)
        llama_cpp.llama_memory_seq_add(self._memory, sequence, end, -1, start - end)
        self._positions[sequence] -= end - start

    # The next token

    def begin_sampling(self, sampling: Sampling, seed: int, said: Sequence[int] = ()) -> None:
        """Choose how :meth:`sample` chooses, with a fresh random state; ``said`` are the tokens
        that are not to be repeated too soon."""
        self._free_sampler()
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        add = llama_cpp.llama_sampler_chain_add
        if sampling.repeat_penalty != 1.0:
            add(
                chain,
                llama_cpp.llama_sampler_init_penalties(
                    self.vocabulary, sampling.repeat_last, sampling.repeat_penalty, 0.0, 0.0
                ),
            )
        if sampling.temperature > 0:
            add(chain, llama_cpp.llama_sampler_init_top_k(sampling.top_k))
            add(chain, llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
            add(chain, llama_cpp.llama_sampler_init_temp(sampling.temperature))
            add(chain, llama_cpp.llama_sampler_init_dist(seed))
        elif sampling.temperature == 0:
            add(chain, llama_cpp.llama_sampler_init_greedy())
        else:
            raise UsageError("The sampling temperature cannot be negative.")
        for token in said:
            llama_cpp.llama_sampler_accept(chain, token)
        self._sampler = chain

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


def _copied(values: Any, size: int) -> NDArray[np.float32]:
    """What llama.cpp will overwrite at its next step."""
    view: NDArray[np.float32] = np.ctypeslib.as_array(values, shape=(size,))
    return np.array(view)


def silence_native_logs() -> None:
    """Keep llama.cpp's own messages off the terminal."""
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))


# Kept here because llama.cpp keeps only its address.
_quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
