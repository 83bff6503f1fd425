"""Text and tokens of an LLM, as llama.cpp reads its vocabulary."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import llama_cpp

_MARKER = (
    llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
    | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
    | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
)
_KINDS = {
    llama_cpp.LLAMA_VOCAB_TYPE_NONE: "none",
    llama_cpp.LLAMA_VOCAB_TYPE_SPM: "SPM",
    llama_cpp.LLAMA_VOCAB_TYPE_BPE: "BPE",
    llama_cpp.LLAMA_VOCAB_TYPE_WPM: "WPM",
    llama_cpp.LLAMA_VOCAB_TYPE_UGM: "UGM",
    llama_cpp.LLAMA_VOCAB_TYPE_RWKV: "RWKV",
    llama_cpp.LLAMA_VOCAB_TYPE_PLAMO2: "PLaMo-2",
}
# How turns begin: a word, a number, a letter that is a word, a name, another script.
_PROBES = ("What", "10", "I", "the", "é", "你")


class Tokenizer:
    """The tokenizer of a loaded model.

    Args:
        vocab: llama.cpp's vocabulary, which lives as long as its model.

    Attributes:
        vocabulary: how many tokens there are.
    """

    def __init__(self, vocab: Any) -> None:
        self._vocab = vocab
        self.vocabulary = int(llama_cpp.llama_vocab_n_tokens(vocab))
        # A conversation has two headers, and asks for what is behind them with every word.
        self._tails = lru_cache(8)(self._read_tail)

    @property
    def kind(self) -> str:
        """Which algorithm makes tokens: BPE, SPM, WPM, UGM, RWKV or PLaMo-2."""
        return _KINDS.get(llama_cpp.llama_vocab_type(self._vocab), "unknown")

    @property
    def bos(self) -> int | None:
        """The token that must open every text, where this LLM wants one."""
        if not llama_cpp.llama_vocab_get_add_bos(self._vocab):
            return None
        return int(llama_cpp.llama_vocab_bos(self._vocab))

    def tokenize(self, text: str | bytes, *, special: bool = False) -> list[int]:
        """Tokens of ``text``; ``special`` reads markers such as ``<|im_end|>`` as one token."""
        data = _bytes(text)
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

    # Text behind other text

    def marker_tokens(self, text: str) -> list[int]:
        """Tokens of ``text`` with its markers, as it is read directly behind words: no space is put
        before it, as some vocabularies put one before every text."""
        word = self.tokenize(_PROBES[0])
        tokens = self.tokenize(_PROBES[0] + text, special=True)
        behind = tokens[: len(word)] == word
        return tokens[len(word) :] if behind else self.tokenize(text, special=True)

    def header_tokens(self, before: str, *, opens: bool = True) -> list[int]:
        """Tokens of ``before`` that stay the same whatever word follows.

        A blank at its end, as in ``[INST] ``, becomes part of the word. What is left out here is
        in :meth:`continue_text`; the two make up the tokens of both texts as one.

        Args:
            opens: whether nothing stands before it; otherwise words do.
        """
        tokens = self.tokenize(before, special=True) if opens else self.marker_tokens(before)
        tail, strip, stable = self._tails(before)
        changing = len(self.tokenize(_behind(tail, strip))) - len(stable)
        return tokens[: len(tokens) - changing]

    def continue_text(self, before: str, text: str | bytes) -> list[int]:
        """Tokens of ``text`` as it is read directly behind ``before``.

        Args:
            before: is read with its markers.
            text: a user's words, never read as markers. (What a vocabulary has as *user-defined*
                tokens, llama.cpp finds in any text.)

        Returns:
            What follows :meth:`header_tokens`; where ``text`` begins so that those would be others,
            its tokens as if it stood alone.
        """
        tail, strip, stable = self._tails(before)
        tokens = self.tokenize(_behind(tail + _bytes(text), strip))
        if tokens[: len(stable)] == stable:
            return tokens[len(stable) :]
        return self.tokenize(text)

    def _read_tail(self, before: str) -> tuple[bytes, bool, list[int]]:
        """The text behind the last marker, whether that marker swallows blanks behind it, and the
        tokens of that text that stay whatever word follows."""
        tail, strip = self._tail(before)
        return tail, strip, self._stable(tail, strip)

    def _tail(self, before: str) -> tuple[bytes, bool]:
        data = before.encode("utf-8")
        for token in reversed(self.tokenize(before, special=True)):
            attributes = llama_cpp.llama_vocab_get_attr(self._vocab, token)
            marker = self.piece(token, special=True) if attributes & _MARKER else b""
            if marker and marker in data:
                tail = data[data.rindex(marker) + len(marker) :]
                return tail, bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP)
        return data, False

    def _stable(self, tail: bytes, strip: bool) -> list[int]:
        stable = self.tokenize(_behind(tail, strip))
        for probe in _PROBES:
            longer = self.tokenize(_behind(tail + probe.encode("utf-8"), strip))
            same = [a == b for a, b in zip(stable, longer, strict=False)]
            stable = stable[: (*same, False).index(False)]
        return stable


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def _behind(text: bytes, strip: bool) -> bytes:
    return text.lstrip() if strip else text
