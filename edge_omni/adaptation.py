"""Adaptations: the small network that `edge-omni adapt` trains for one LLM.

The speech decoder's prefix network sees inside of one LLM, byte for byte, and was trained beside
one graph of a bundle. An adaptation is a folder that holds it and says in ``adaptation.json`` which
LLM and which graph these are. It is found by itself: in the user's data folder, then in the bundle.
What does not fit any more is left out, and it is told why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from edge_omni import fetch
from edge_omni.bundle import Bundle, BundleFile, LLMReference

MANIFEST = "adaptation.json"
FOLDER = "adaptations"

BESIDE = "decoder_step"
"""The graph of the bundle that the prefix was trained beside."""


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
        beside: sha256 of the bundle's graph that it was trained beside.
    """

    file: str = Field(pattern=r"^[\w.-]+$")
    beside: str = Field(pattern="^[0-9a-f]{64}$")


class AdaptationManifest(_Strict):
    """What an adaptation is made of.

    Attributes:
        bundle: the name of the bundle that it was trained beside.
        parts: nothing where the prefix did not help. Older ones have a ``residual``, which was
            added to what the LLM heard.
        figures: before and after, of sentences that were kept aside.
    """

    format: Literal[1]
    bundle: str
    llm: AdaptedLLM
    parts: dict[Literal["prefix", "residual"], Part]
    figures: dict[str, float] = {}
    provenance: list[str] = []


@dataclass
class Adaptation:
    """What is used of the adaptations that were found.

    Attributes:
        prefix: graph from the LLM's ``hidden`` states, see
            :class:`edge_omni.decoder.SpeechDecoder`.
        left_out: why something that was found is not used, for people to read.
    """

    prefix: Path | None = None
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """What is in use, for people to read."""
        return "not adapted" if self.prefix is None else "adapted (prefix)"


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
    if "residual" in manifest.parts:
        found.left_out.append(
            f"The residual in {folder} is no longer used: the LLM now reads what is heard as its "
            f"own tokens. {_AGAIN}"
        )
    prefix = manifest.parts.get("prefix")
    if prefix is None or found.prefix is not None:
        return
    problem = _problem(folder / prefix.file, prefix, bundle)
    if problem is None:
        found.prefix = folder / prefix.file
    else:
        found.left_out.append(f"The prefix in {folder} is not used: {problem}. {_AGAIN}")


def _problem(path: Path, part: Part, bundle: Bundle) -> str | None:
    """Why a part cannot be used, if so."""
    graph = bundle.manifest.graphs.get(BESIDE, "")
    if graph not in bundle.manifest.files or bundle.manifest.files[graph].sha256 != part.beside:
        return f"it was trained beside another {BESIDE} than the bundle's"
    if not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size != part.bytes or fetch.sha256(path) != part.sha256:
        return f"{path.name} was cut off or altered"
    return None


_AGAIN = "Make it again with `edge-omni adapt`."
