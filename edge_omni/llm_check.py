"""What an LLM file is, and what works with it: ``edge-omni llm check``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from edge_omni.conversation import ChatLayout
from edge_omni.errors import LLMError
from edge_omni.gguf_file import GGUFFile
from edge_omni.llm import LLM

_MEMORY = 64
"""Tokens that the trial needs."""


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        files: the GGUF file, or all parts of it.
        bytes: of all of them.
        architecture, name: as the file says.
        parameters: numbers in all tensors.
        width, layers, context: where the file says; the context is the one it was trained for.
        vocabulary, vocabulary_kind: how many tokens, and of which kind of tokenizer.
        chat_template: whether there is one.
        template_problem: why it cannot be read, if so.
        row_scale, row_error: see :class:`edge_omni.llm.LLM`; None where it could not be tried.
        can_cut, can_shift: whether the end of its memory can be taken back, and a span dropped
            from the middle; None where it could not be tried.
        not_supported: what does not work, for people to read.
        can_be_heard: whether speech can be put into it.
        can_speak: whether its answers can be said.
    """

    files: list[str]
    bytes: int
    architecture: str
    name: str | None
    parameters: int
    width: int | None
    layers: int | None
    context: int | None
    vocabulary: int | None
    vocabulary_kind: str | None
    chat_template: bool
    template_problem: str | None = None
    row_scale: float | None = None
    row_error: float | None = None
    can_cut: bool | None = None
    can_shift: bool | None = None
    not_supported: list[str] = field(default_factory=list)
    can_be_heard: bool = False
    can_speak: bool = False


def check(path: Path, threads: int | None = None) -> Findings:
    """Read the file's header, load it, and try what a talk needs.

    Args:
        path: a GGUF file, or any part of a split one.
        threads: CPU threads; all cores when None.

    Raises:
        LLMError: the file or a part of it is missing, or is no GGUF.
    """
    found = _described(GGUFFile(path))
    try:
        llm = LLM(path, context=_MEMORY, threads=threads)
    except LLMError as error:
        return replace(found, not_supported=[str(error)])
    try:
        return _tried(found, llm)
    finally:
        llm.close()


def _described(file: GGUFFile) -> Findings:
    """What the header says."""
    name = file.metadata.get("general.name")
    kind = file.metadata.get("tokenizer.ggml.model")
    return Findings(
        files=[str(shard) for shard in file.shards],
        bytes=file.bytes,
        architecture=file.architecture,
        name=None if name is None else str(name),
        parameters=sum(math.prod(tensor.shape) for tensor in file.tensors.values()),
        width=file.number("embedding_length"),
        layers=file.number("block_count"),
        context=file.number("context_length"),
        vocabulary=file.lengths.get("tokenizer.ggml.tokens"),
        vocabulary_kind=None if kind is None else str(kind),
        chat_template="tokenizer.chat_template" in file.metadata,
    )


def _tried(found: Findings, llm: LLM) -> Findings:
    """What loading it and a few steps show."""
    template, cut = _template_problem(llm), _can_cut(llm)
    problems = []
    if not cut:
        problems.append(
            "taking back what was heard wrong or said unheard: its memory is one running state (a "
            "recurrent or hybrid LLM)"
        )
    if not llm.can_shift:
        problems.append(
            "conversations longer than its memory: nothing can be dropped from the middle of it"
        )
    if not llm.rows_alike:
        problems.append(
            f"bundles with a frame-synchronous adapter or a learned prompt: {llm.row_problem}"
        )
    if template is not None:
        problems.append(f"answers: {template}")
    return replace(
        found,
        width=llm.width,
        vocabulary=llm.vocabulary,
        vocabulary_kind=llm.kind,
        template_problem=template,
        row_scale=llm.row_scale,
        row_error=llm.row_error if math.isfinite(llm.row_error) else None,
        can_cut=cut,
        can_shift=llm.can_shift,
        not_supported=problems,
        can_be_heard=cut,
        can_speak=template is None,
    )


def _template_problem(llm: LLM) -> str | None:
    """Why its chat template cannot be read, if so."""
    if llm.chat_template is None:
        return "it has no chat template, so it is no chat model"
    try:
        ChatLayout.from_template(llm.chat_template, "Be brief.")
    except LLMError as error:
        return str(error)
    return None


def _can_cut(llm: LLM) -> bool:
    """Whether the end of its memory can be taken back."""
    llm.append([*llm.tokenize("What is it?"), 0, 0][:2])
    try:
        llm.rewind(1)
    except LLMError:
        return False
    finally:
        llm.rewind(0)
    return True


def table(found: Findings) -> Table:
    """The findings, for people to read."""
    rows = [
        ("file", "\n".join(found.files)),
        ("size", f"{found.bytes / 1e6:.1f} MB"),
        ("architecture", found.architecture),
        ("name", found.name),
        ("parameters", f"{found.parameters / 1e6:.1f} million"),
        ("width, layers", f"{found.width}, {found.layers}" if found.width else None),
        (
            "vocabulary",
            f"{found.vocabulary} tokens ({found.vocabulary_kind})" if found.vocabulary else None,
        ),
        ("context", f"{found.context} tokens in training" if found.context else None),
        ("chat template", _template(found)),
        ("rows", _rows(found)),
        ("memory", _memory(found)),
        *[("not supported", problem) for problem in found.not_supported],
        ("can be heard", _yes(found.can_be_heard)),
        ("can speak", _yes(found.can_speak)),
    ]
    shown = Table(show_header=False, box=None)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            shown.add_row(name, escape(value))
    return shown


def _template(found: Findings) -> str:
    if not found.chat_template:
        return "none"
    return "there, but not readable" if found.template_problem else "readable"


def _rows(found: Findings) -> str | None:
    if found.row_scale is None:
        return None
    if found.row_error is None:
        return "cannot be read"
    left = f"{found.row_error:.1g} of the hidden states' spread" if found.row_error else "nothing"
    return f"times {found.row_scale:.6g}; {left} left of a difference to tokens"


def _memory(found: Findings) -> str | None:
    if found.can_cut is None:
        return None
    return f"can be cut: {_yes(found.can_cut)}, can be shifted: {_yes(bool(found.can_shift))}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
