"""Sound files in and out: one reader and one writer for the whole project."""

import os
import secrets
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from edge_omni.audio.resample import resample
from edge_omni.errors import AudioFileError

FORMATS = {".wav": "WAV", ".flac": "FLAC"}


def read(path: str | os.PathLike[str], rate: int = 16_000) -> NDArray[np.float32]:
    """Reads anything that libsndfile knows, mixed to mono and resampled to `rate`.

    Returns float32 [samples], within -1 to 1 (louder floating-point files are clipped, as every
    player does). Raises AudioFileError if there is no sound to be had from `path`.
    """
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise AudioFileError(f"No such file: {path}. Check the path.")
    if not os.path.isfile(path):
        raise AudioFileError(f"{path} is not a file. Give the path of one WAV or FLAC file.")
    try:
        with path.open("rb") as stream, sf.SoundFile(stream) as sound:
            frames = sound.read(dtype="float32", always_2d=True)
            file_rate = sound.samplerate
    except PermissionError as error:
        raise AudioFileError(f"No permission to read {path}. Change it with chmod.") from error
    except (sf.LibsndfileError, OSError) as error:
        raise AudioFileError(
            f"{path} cannot be read as sound ({error}). Convert it to WAV or FLAC first."
        ) from error
    if len(frames) == 0:
        raise AudioFileError(f"{path} holds no samples. Record it again.")
    if not np.isfinite(frames).all():
        raise AudioFileError(
            f"{path} holds samples that are not numbers (NaN or infinity). Export it again."
        )
    # Clipped before the mean: one wild channel must not drown the others.
    mono = np.clip(frames, -1.0, 1.0).mean(axis=1, dtype=np.float32)
    return resample(mono, file_rate, rate)


def write(path: str | os.PathLike[str], pcm: NDArray[np.float32], rate: int) -> None:
    """Writes `pcm` (float [samples], -1 to 1) as 16-bit WAV or FLAC, by the name's ending.

    The file appears whole or not at all: it is written beside its place and then renamed.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise AudioFileError(f"Cannot write {path}: the name must end in .wav or .flac.")
    target = path.resolve()  # a link keeps pointing where it points
    if target.exists() and not target.is_file():
        raise AudioFileError(f"Cannot write {path}: it is not a file. Give another name.")
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        with draft.open("xb") as stream:
            sf.write(stream, np.clip(pcm, -1.0, 1.0), rate, subtype="PCM_16", format=kind)
        draft.replace(target)
    except (sf.LibsndfileError, OSError) as error:
        raise AudioFileError(
            f"Cannot write {path} ({error}). Choose a folder that exists, has room and is yours."
        ) from error
    finally:
        if draft.exists():
            draft.unlink()
