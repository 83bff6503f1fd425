"""What is measured: a bundle with an LLM. And the judge. Both are loaded once in each process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from edge_omni.adaptation import Adaptation, find
from edge_omni.assistant import Assistant
from edge_omni.bundle import CURVES, Bundle, Manifest
from edge_omni.fetch import sha256
from evals.judge import Judge

HEARS = ("encoder", "adapter")
ANSWERS = (*HEARS, "chat")
SPEAKS = ("decoder", "vocoder", "speech", "chat")
CONVERSES = (*HEARS, *SPEAKS, "state", "dialogue")


@dataclass(frozen=True)
class Setup:
    """A bundle with its own LLM or another one.

    Attributes:
        bundle: its folder.
        label: what tables call it.
        llm: another GGUF file than the bundle's own.
        seed: of the voice.
        system: another system prompt than the bundle's.
        threads: to compute with; as the environment says when None.
    """

    bundle: Path
    label: str
    llm: Path | None = None
    seed: int = 0
    system: str | None = None
    threads: int | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return Bundle(self.bundle).manifest

    def open(self) -> Assistant:
        """The assistant, ready to be asked."""
        return Assistant(
            self.bundle,
            llm=self.llm,
            seed=self.seed,
            system=self.system,
            threads=self.threads or threads(),
        )

    def parts(self, *names: str) -> dict[str, Any]:
        """What the named parts of the bundle are: hashes of their graphs, and their settings.

        A result stands as long as the parts that it came from do: another voice leaves the
        captions alone, and figures written into the manifest change nothing.
        """
        manifest = self.manifest
        roles = {file: role for role, file in manifest.graphs.items()}
        return {
            "files": {
                name: file.sha256
                for name, file in manifest.files.items()
                if (name in roles and roles[name].partition("_")[0] in names)
                or not (name.endswith((".md", ".onnx")) or name == CURVES)
            },
            "settings": manifest.model_dump(mode="json", include=set(names)),
        }

    def llm_hash(self) -> str:
        """The sha256 of the LLM."""
        return self.manifest.llm.sha256 if self.llm is None else file_hash(self.llm)

    @cached_property
    def adaptation(self) -> Adaptation:
        """What is used of what was trained for the LLM on this machine."""
        bundle = Bundle(self.bundle)
        return find(bundle, self.llm or bundle.find_llm(), self.llm_hash())

    def brain(self) -> list[str]:
        """What the LLM is, and the prefix that speaks for it: their hashes, of none nothing."""
        prefix = self.adaptation.prefix
        return [self.llm_hash(), file_hash(prefix) if prefix else ""]


def setup(
    bundle: str | Path, llm: Path | None = None, *, seed: int = 0, label: str | None = None
) -> Setup:
    """A bundle by name or folder; called ``label``, or as its manifest does.

    Raises:
        BundleError: there is no such bundle.
        LLMError: the bundle's own LLM is wanted and not on this machine.
    """
    found = Bundle(bundle)
    if llm is None:
        found.find_llm()
    name = label or found.manifest.name
    return Setup(found.folder.resolve(), name, llm.resolve() if llm else None, seed=seed)


_open: dict[Setup, Assistant] = {}


def assistant(wanted: Setup) -> Assistant:
    """The assistant of this process, without a memory. Asking for another one closes it."""
    if wanted not in _open:
        close()
        _open[wanted] = wanted.open()
    _open[wanted].reset()
    return _open[wanted]


def close() -> None:
    """Free the memory of this process's assistant."""
    while _open:
        _open.popitem()[1].close()


@cache
def judge() -> Judge:
    """The judge of this process."""
    return Judge(threads() or 2)


def threads() -> int | None:
    """Threads for a model, as the environment says: EDGE_OMNI_THREADS, as for `edge-omni run`."""
    return int(os.environ.get("EDGE_OMNI_THREADS") or 0) or None


@cache
def file_hash(path: Path) -> str:
    """The sha256 of a file, read once; of a missing one nothing."""
    return sha256(path) if path.is_file() else ""


def short_hash(told: Any) -> str:
    """Twelve digits that tell ``told`` (anything that JSON can hold) from everything else."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
