"""Vocabularies for random LLMs: another model's, or a small one of SentencePiece's kind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import gguf

ZEPHYR = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""A chat template whose markers are plain text, as TinyLlama's."""

LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "<s>[INST] {{ message['content'] }} [/INST]"
    "{% elif message['role'] == 'assistant' %} {{ message['content'] }} </s>"
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)
"""A chat template with a blank before the user's words and no system role."""

GEMMA = (
    "{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

_WORDS = """a an and answer are assistant be brief can colour day do does eight five for four from
go good had has have he hello here how I in is it Italy like me much name nine no not of on one or
Paris please question river say seven she six system tell ten that the there they thing this three
time to tomorrow two user was water we weather What when where Which who why will with word world
yes you""".split()
_CHARACTERS = [chr(code) for code in range(33, 127)]
_CONTROL = int(gguf.TokenType.CONTROL)
_NORMAL = int(gguf.TokenType.NORMAL)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of its tokens.

    Attributes:
        model, pre: llama.cpp's names for the tokenizer and for how it cuts text first.
        scores: of SentencePiece's pieces, the larger the earlier joined.
        merges: of byte pairs.
        space_prefix: whether text begins with a space that nobody wrote.
    """

    model: str
    tokens: list[str]
    types: list[int]
    eos: int
    template: str | None = None
    pre: str | None = None
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    bos: int | None = None
    space_prefix: bool | None = None

    @classmethod
    def of(cls, path: Path) -> Vocabulary:
        """That of a GGUF file with byte pairs."""
        fields = gguf.GGUFReader(path).fields
        return cls(
            model=fields["tokenizer.ggml.model"].contents(),
            tokens=fields["tokenizer.ggml.tokens"].contents(),
            types=fields["tokenizer.ggml.token_type"].contents(),
            eos=fields["tokenizer.ggml.eos_token_id"].contents(),
            template=fields["tokenizer.chat_template"].contents(),
            pre=fields["tokenizer.ggml.pre"].contents(),
            merges=fields["tokenizer.ggml.merges"].contents(),
        )

    def filled(self, words: int) -> Vocabulary:
        """With unused tokens behind, up to ``words``."""
        more = range(len(self.tokens), words)
        return dataclasses.replace(
            self,
            tokens=[*self.tokens, *(f"<|unused {i}|>" for i in more)],
            types=[*self.types, *(int(gguf.TokenType.UNUSED) for _ in more)],
        )

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        """Write it into the header of a GGUF file."""
        writer.add_tokenizer_model(self.model)
        if self.pre is not None:
            writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.template is not None:
            writer.add_chat_template(self.template)
        if self.bos is not None:
            writer.add_bos_token_id(self.bos)
        writer.add_eos_token_id(self.eos)
        writer.add_add_bos_token(self.bos is not None)
        if self.space_prefix is not None:
            writer.add_add_space_prefix(self.space_prefix)


def sentencepiece(
    template: str | None = ZEPHYR, markers: tuple[str, ...] = (), *, space_prefix: bool = True
) -> Vocabulary:
    """A few hundred pieces: bytes, characters, and words by all of their beginnings.

    Args:
        markers: control tokens besides ``<s>`` and ``</s>``.
        space_prefix: as Llama 2's; Gemma has none.
    """
    control = ["<unk>", "<s>", "</s>", *markers]
    pieces = dict.fromkeys(["▁", "▁▁", *_CHARACTERS])
    for word in _WORDS:
        for spelled in (f"▁{word}", word):
            pieces |= dict.fromkeys(spelled[:end] for end in range(2, len(spelled) + 1))
    tokens = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [int(gguf.TokenType.UNKNOWN), *[_CONTROL] * (len(control) - 1)]
    types += [int(gguf.TokenType.BYTE)] * 256 + [_NORMAL] * len(pieces)
    scores = [0.0] * (len(control) + 256) + [-float(n) for n in range(len(pieces))]
    return Vocabulary(
        "llama", tokens, types, eos=2, template=template, scores=scores, bos=1,
        space_prefix=space_prefix,
    )  # fmt: skip
