"""Adaptations: the two small networks that `edge-omni adapt` trains for one LLM.

Residual and prefix see inside of one LLM, byte for byte, and were trained beside certain graphs of
a bundle. An adaptation is a folder that holds them and says in ``adaptation.json`` which LLM and
which graphs these are. It is found by itself: in the user's data folder, then in the bundle. What
does not fit any more is left out, and it is told why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from edge_omni import fetch
from edge_omni.bundle import Bundle, BundleFile, LLMReference

MANIFEST = "adaptation.json"
FOLDER = "adaptations"

Role: TypeAlias = Literal["residual", "prefix"]
BESIDE: dict[Role, str] = {"residual": "adapter_step", "prefix": "decoder_step"}
"""The graph of the bundle that each part was trained beside."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AdaptedLLM(BundleFile):
    """The LLM that an adaptation was trained for."""

    name: str
    width: int


class Part(BundleFile):
    """A graph of the adaptation.

    Attributes:
        file: its name in the folder.
        beside: sha256 of the bundle's graph that it was trained beside, see ``BESIDE``.
    """

    file: str = Field(pattern=r"^[\w.-]+$")
    beside: str = Field(pattern="^[0-9a-f]{64}$")


class AdaptationManifest(_Strict):
    """What an adaptation is made of.

    Attributes:
        bundle: the name of the bundle that it was trained beside.
        figures: before and after, of questions and sentences that were kept aside.
    """

    format: Literal[1]
    bundle: str
    llm: AdaptedLLM
    parts: dict[Role, Part]
    figures: dict[str, float] = {}
    provenance: list[str] = []


@dataclass
class Adaptation:
    """What is used of the adaptations that were found.

    Attributes:
        residual: graph from ``hidden`` of the token-synchronous adapter, float32 [1, n, width], to
            the ``residual`` of its embeddings, float32 [1, n, llm_width].
        prefix: graph from the LLM's ``hidden`` states, see
            :class:`edge_omni.decoder.SpeechDecoder`.
        left_out: why something that was found is not used, for people to read.
    """

    residual: Path | None = None
    prefix: Path | None = None
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The parts in use, for people to read."""
        used = [role for role in BESIDE if getattr(self, role) is not None]
        return f"adapted ({' and '.join(used)})" if used else "not adapted"


class _File:
    """The LLM's file; its hash is taken only if something may have been made for it."""

    def __init__(self, path: Path, sha256: str | None) -> None:
        self._path, self._sha256 = path, sha256
        self.bytes = path.stat().st_size

    def is_as(self, wanted: AdaptedLLM | LLMReference) -> bool:
        """Whether it is the wanted file, byte for byte."""
        if self.bytes != wanted.bytes:
            return False
        self._sha256 = self._sha256 or fetch.sha256(self._path)
        return self._sha256 == wanted.sha256


def find(bundle: Bundle, llm: Path, sha256: str | None = None) -> Adaptation:
    """What belongs to an LLM on this machine: nothing if it is none of those adapted to.

    The bundle's own ``decoder_prefix`` belongs to the LLM that the bundle was made for.

    Args:
        sha256: of the LLM's file, if it is known.
    """
    file, found = _File(llm, sha256), Adaptation()
    for folder in _folders(bundle):
        _add(found, folder, bundle, file)
    has_own = "decoder_prefix" in bundle.manifest.graphs
    if found.prefix is None and has_own and file.is_as(bundle.manifest.llm):
        found.prefix = bundle.path("decoder_prefix")
    return found


def store(bundle: Bundle, sha256: str) -> Path:
    """The user's folder for the adaptation of a bundle to the LLM with this hash."""
    return fetch.store() / FOLDER / f"{bundle.manifest.name}-{sha256[:16]}"


def _folders(bundle: Bundle) -> Iterator[Path]:
    """Every adaptation on this machine, what the user trained first."""
    for place in (fetch.store(), bundle.folder):
        yield from sorted(path.parent for path in (place / FOLDER).glob(f"*/{MANIFEST}"))


def _add(found: Adaptation, folder: Path, bundle: Bundle, llm: _File) -> None:
    """Take from ``folder`` what fits, unless it is there already."""
    try:
        manifest = AdaptationManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        wrong = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
        found.left_out.append(f"{folder / MANIFEST} cannot be read ({wrong}). {_AGAIN}")
        return
    if manifest.bundle != bundle.manifest.name or not llm.is_as(manifest.llm):
        return
    for role, part in manifest.parts.items():
        if getattr(found, role) is not None:
            continue
        problem = _problem(folder / part.file, part, bundle, BESIDE[role])
        if problem is None:
            setattr(found, role, folder / part.file)
        else:
            found.left_out.append(f"The {role} in {folder} is not used: {problem}. {_AGAIN}")


def _problem(path: Path, part: Part, bundle: Bundle, beside: str) -> str | None:
    """Why a part cannot be used, if so."""
    graph = bundle.manifest.graphs.get(beside, "")
    if graph not in bundle.manifest.files or bundle.manifest.files[graph].sha256 != part.beside:
        return f"it was trained beside another {beside} than the bundle's"
    if not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size != part.bytes or fetch.sha256(path) != part.sha256:
        return f"{path.name} was cut off or altered"
    return None


_AGAIN = "Make it again with `edge-omni adapt`."
