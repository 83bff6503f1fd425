"""Freeze-Omni's checkpoint to a bundle: `edge-omni convert freeze-omni`."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from convert.export import Precision
from convert.freeze_omni import check
from convert.freeze_omni.decoder import EXTRA
from convert.freeze_omni.encoder import SHIFT, STEP
from convert.freeze_omni.graphs import graphs
from convert.freeze_omni.model import Model, read
from convert.pack import pack
from edge_omni.bundle import FORMAT, MANIFEST, Manifest
from edge_omni.errors import LLMError, UsageError
from edge_omni.fetch import sha256
from edge_omni.llm import LLM

REPORT = "TENSORS.md"
AUDIO, TURN_END = "<audio>", "<|im_end|>"
SYSTEM = "system\n"
NEVER = 1e6
LICENSE = (
    "that of the checkpoint; the published one may be used for academic, research and education "
    "purposes only"
)
BLOCK = 10
"""Codes that are handed to the vocoder at once."""
LONGEST = 1000
"""Codes for one text chunk at most, as in the reference."""

console = Console()


def convert(
    checkpoints: Path,
    llm: Path,
    out: Path,
    *,
    precision: Precision = "fp16",
    precisions: Mapping[str, Precision] | None = None,
    checked: bool = False,
) -> Manifest:
    """Write the bundle, whole or not at all.

    Args:
        checkpoints: folder in the published layout.
        llm: the GGUF file that the checkpoint was trained for, in any quantisation.
        out: folder for the bundle; its name is the bundle's. It must not exist yet.
        precision: of all graphs, unless ``precisions`` says otherwise by role.
        checked: also compare each graph with its module, and print how far they are apart.

    Raises:
        CheckpointError: the checkpoint is damaged, not whole, or cannot be converted.
        LLMError: the LLM does not fit it.
        UsageError: there is something at ``out`` already, or a role that does not exist.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already. Name another folder with --out, or delete it.")
    model = read(checkpoints)
    marks = llm_marks(model)
    width = check_llm(model, llm, marks)
    precisions = dict(precisions or {})
    with _folder(out) as draft:
        rows = list(_write_graphs(model, draft, precision, precisions, checked))
        if precisions:
            known = ", ".join(row[0] for row in rows)
            raise UsageError(f"There is no graph {', '.join(precisions)}; there are {known}.")
        (draft / REPORT).write_text(report(model), "utf-8")
        content = manifest(model, out.name, llm, width)
        content["graphs"] = {role: f"{role}.onnx" for role, *_ in rows}
        (draft / MANIFEST).write_text(json.dumps(content), "utf-8")
        checked_manifest = pack(draft, {})
        overall = check.together(model, draft) if checked else []
    _show(rows, overall, out, llm)
    return checked_manifest


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place if all goes well, and is gone if not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


Row = tuple[str, str, float, "check.Parity | None"]


def _write_graphs(
    model: Model,
    folder: Path,
    precision: Precision,
    precisions: dict[str, Precision],
    checked: bool,
) -> Iterator[Row]:
    """Each graph's role, precision and megabytes, and how far it is from its module."""
    for streaming in graphs(model):
        kept, path = precisions.pop(streaming.role, precision), folder / f"{streaming.role}.onnx"
        with console.status(f"{streaming.role} …"):
            streaming.write(path, kept)
            codes = model.codec.n_codes
            parity = check.alone(streaming, path, codes) if checked else None
        yield streaming.role, kept, path.stat().st_size / 1e6, parity


# The LLM


def llm_marks(model: Model) -> list[str]:
    """The markers of the chat layout, each of which has to be one token."""
    return sorted(set(re.findall(r"<\|.*?\|>", model.hearing.model.chat_template)))


def check_llm(model: Model, path: Path, marks: list[str]) -> int:
    """The width of the LLM, which fits.

    Raises:
        LLMError: it does not.
    """
    llm = LLM(path, context=64)
    try:
        wanted = model.hearing.model.llm_embed_dim
        if llm.width != wanted:
            raise LLMError(
                f"{path} takes embeddings of width {llm.width}, the checkpoint was trained for "
                f"{wanted}. Give the LLM that it was trained for, as GGUF."
            )
        for mark in marks:
            if len(llm.tokenize(mark, special=True)) != 1:
                raise LLMError(
                    f"{path} does not know {mark}, which the checkpoint's chat layout is made "
                    "of: it is another LLM, or no chat model."
                )
        if model.llm_shape is not None and model.llm_shape[0] != llm.vocabulary:
            raise LLMError(
                f"{path} has {llm.vocabulary} tokens, the checkpoint's own LLM has "
                f"{model.llm_shape[0]}: it is another one."
            )
        return llm.width
    finally:
        llm.close()


# The manifest


def manifest(model: Model, name: str, llm: Path, width: int) -> dict[str, Any]:
    """All of the manifest but its files and graphs."""
    return {
        "format": FORMAT,
        "name": name,
        "version": "1",
        "description": f"Freeze-Omni with {llm.stem}, converted from its checkpoint.",
        "license": LICENSE,
        "provenance": [
            "encoder, adapter, state head, speech decoder and codec: a checkpoint in Freeze-Omni's "
            "published layout, not changed but for the form of its weights"
        ],
        "files": {},
        "graphs": {},
        "llm": {
            "name": llm.stem, "file": llm.name, "sha256": sha256(llm),
            "bytes": llm.stat().st_size, "width": width,
            "license": "that of the LLM, see its publisher", "sources": [],
        },
        "chat": _chat(model.hearing.model.chat_template),
        "encoder": {
            "chunk": STEP * SHIFT,
            "frame": STEP * SHIFT // model.encoder.sizes.chunk,
            "width": model.encoder.sizes.width,
        },
        "adapter": {"kind": "frame"},
        "decoder": _decoder(model),
        "vocoder": {
            "sample_rate": model.codec.sampling_rate,
            "samples_per_code": math.prod(model.codec.upsample_rates),
            "delay": model.vocoder.generator.delay,
            "silence": -1,
        },
        # As the published server does: what it draws with, how long an answer and a pause may be.
        "sampling": {"temperature": 0.7, "top_k": 5, "top_p": 0.8},
        "answer_tokens": 500,
        "context": 4096,
        "dialogue": {
            "end_silence": 2.0, "answer": 0.5, "ignore": 0.5,
            "interrupt": 1.0, "over_answer": 0.5, "over_voiced": NEVER,
        },
    }  # fmt: skip


def _chat(template: str) -> dict[str, str]:
    """The layout of turns: a turn's end opens the next one, as in the reference."""
    before, answer = template.split(AUDIO)
    head, user = before.split(TURN_END, 1)
    begin, system, content = head.partition(SYSTEM)
    opening = _literal(begin + system) + "{system}" + _literal(TURN_END + user)
    return {
        "system": content, "opening": opening, "answer": answer, "next_turn": TURN_END + user,
    }  # fmt: skip


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _decoder(model: Model) -> dict[str, Any]:
    codes, server = model.speaking.odim, model.server
    return {
        "kind": "token", "codes": codes, "begin": codes + 1, "end": codes + 2,
        "top_k": min(server.decoder_top_k, codes + EXTRA),
        "penalty": server.decoder_penalty,
        "penalty_window": max(0, server.decoder_penalty_window_size),
        "block": BLOCK, "longest": LONGEST,
    }  # fmt: skip


# For people


def report(model: Model) -> str:
    """Every tensor of the checkpoint and where it went, as Markdown."""
    lines = [
        "# Where each tensor went",
        "",
        "| file | tensor | shape | |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {a.file} | {a.name} | {' x '.join(map(str, a.shape))} | {a.place} |"
        for a in model.accounts
    ]
    return "\n".join(lines) + "\n"


def _show(rows: list[Row], overall: list[check.Parity], out: Path, llm: Path) -> None:
    table = Table(title=str(out), title_justify="left")
    for column in ("graph", "weights"):
        table.add_column(column)
    for column in ("MB", *(["largest difference", "of", "ms", "torch"] if overall else [])):
        table.add_column(column, justify="right")

    def numbers(parity: check.Parity | None) -> list[str]:
        if parity is None:
            return []
        times = (parity.seconds, parity.module_seconds)
        milliseconds = ["" if time is None else f"{1000 * time:.1f}" for time in times]
        return [f"{parity.largest:.1e}", f"{parity.spread:.2g}", *milliseconds]

    for role, kept, megabytes, parity in rows:
        table.add_row(role, kept, f"{megabytes:.1f}", *numbers(parity))
    for parity in overall:
        table.add_row(parity.name, "", "", *numbers(parity))
    console.print(table)
    console.print(f"Talk with it: edge-omni run --bundle {out} --llm {llm}", soft_wrap=True)
