"""Training data for hearing: recordings, what full-context Whisper hears in them, and its features.

No transcripts are needed. The teacher sees each whole recording with silence behind it, as it was
trained to, and is run once: its tokens (beam search), the frame at which each token's attention
lies, and two layers of features are kept, so that an epoch costs the student alone.

Played faster and slower, each recording becomes three, by people with other voices.

    python -m train.hearing.data OUT recordings/*.flac more/*.opus --speed 0.9
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import ctranslate2
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from train.hearing import whisper
from train.hearing.decoder import Decoder
from train.hearing.encoder import FRAME, Encoder
from train.hearing.front_end import SAMPLE_RATE
from train.hearing.weights import load_decoder, load_encoder

PROMPT = (50258, 50259, 50359, 50363)  # start of transcript, English, transcribe, no timestamps
END = 50257
CHUNK = 16 * FRAME
# The encoder's first frame stands for the sound before the recording (see encoder.Encoder).
LEAD = FRAME
SILENCE = 3.0
LONGEST = 16.0
WIDTH = 512
TAP = 2


@dataclass
class Utterance:
    """One recording in the data folder.

    Attributes:
        name: where it came from.
        start: first sample in ``pcm.i16``; samples: how many.
        first: first row in ``final.f16`` and ``middle.f16``; frames: how many.
        tokens: the teacher's tokens, without prompt and end; empty for no speech.
        times: for each token the frame on which the teacher's attention peaks.
        score: the teacher's mean log probability of its tokens.
        silence: the teacher's probability that there is no speech.
    """

    name: str
    start: int
    samples: int
    first: int
    frames: int
    tokens: list[int]
    times: list[int]
    score: float
    silence: float


def read(path: Path, speed: float = 1.0) -> NDArray[np.float32]:
    """A recording as mono float32 at 16 kHz, no longer than ``LONGEST`` seconds."""
    pcm, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = pcm.mean(1)
    if rate * speed != SAMPLE_RATE:
        mono = soxr.resample(mono, rate * speed, SAMPLE_RATE)
    return np.asarray(mono[: int(LONGEST * SAMPLE_RATE)], dtype=np.float32)


def whole_chunks(pcm: NDArray[np.float32], extra: float = 0.0) -> NDArray[np.float32]:
    """``pcm`` with ``extra`` seconds of silence behind it, filled up to whole chunks."""
    samples = len(pcm) + int(extra * SAMPLE_RATE)
    return np.pad(pcm, (0, -samples % CHUNK + samples - len(pcm)))


def peaks(attention: Tensor) -> list[int]:
    """Frames of the attention's peaks [n, T], smoothed over three frames, never going back."""
    smooth = torch.nn.functional.avg_pool1d(attention[None], 3, 1, 1)[0]
    return [int(i) for i in smooth.argmax(1).cummax(0).values]


class Teacher:
    """Full-context Whisper: features, tokens and their places."""

    def __init__(self, folder: Path | None = None) -> None:
        source = whisper.load(folder)
        self.encoder, self.decoder = Encoder(), Decoder(alignment=source.config["alignment_heads"])
        load_encoder(self.encoder, source.weights)
        load_decoder(self.decoder, source.weights)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        for half in (self.encoder, self.decoder):
            half.eval().to(self.device)

    @torch.no_grad()
    def features(self, pcm: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Final and middle features of whole chunks of PCM: float32 [1, T, width] each."""
        sound = torch.from_numpy(pcm)[None].to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            final, tapped = self.encoder(sound, taps=(TAP,))
        return final.float().cpu(), tapped[0].float().cpu()

    @torch.no_grad()
    def places(self, tokens: list[int], frames: Tensor) -> list[int]:
        """Frame of each token in frames [1, T, width]."""
        if not tokens:
            return []
        sequence = torch.tensor([[*PROMPT, *tokens]], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            memory = self.decoder.memory(frames.to(self.device))
            _, _, attention = self.decoder(sequence, memory, self.decoder.first_past())
        return peaks(attention[0, len(PROMPT) - 1 : -1].float())


def prepare(
    paths: list[Path], out: Path, model: ctranslate2.models.Whisper, speed: float = 1.0
) -> None:
    """Append every recording not yet in ``out``; may be stopped and started again."""
    out.mkdir(parents=True, exist_ok=True)
    index = out / "index.jsonl"
    done = load_index(out) if index.exists() else []
    known = {item.name for item in done}
    start = sum(item.samples for item in done)
    first = sum(item.frames for item in done)
    for name, size in (("pcm.i16", 2), ("final.f16", 2 * WIDTH), ("middle.f16", 2 * WIDTH)):
        with (out / name).open("ab") as file:
            file.truncate((start if name == "pcm.i16" else first) * size)
    teacher = Teacher()
    for path in tqdm(paths, mininterval=5):
        name = f"{path.parent.name}/{path.name}"
        if name in known:
            continue
        pcm = whole_chunks(read(path, speed))
        final, middle = teacher.features(whole_chunks(pcm, SILENCE))
        result = model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(final.numpy())),
            [list(PROMPT)],
            beam_size=5,
            max_length=200,
            repetition_penalty=1.05,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < END]
        frames = len(pcm) // FRAME
        places = [min(place, frames - 1) for place in teacher.places(tokens, final)]
        item = Utterance(
            name, start, len(pcm), first, frames, tokens, places,
            round(result.scores[0], 4), round(result.no_speech_prob, 4),
        )  # fmt: skip
        _append(out / "pcm.i16", (np.clip(pcm, -1, 1) * 32767).astype(np.int16))
        _append(out / "final.f16", final[0, :frames].numpy().astype(np.float16))
        _append(out / "middle.f16", middle[0, :frames].numpy().astype(np.float16))
        with index.open("a") as file:
            file.write(json.dumps(asdict(item)) + "\n")
        start, first = start + len(pcm), first + frames


def _append(path: Path, array: NDArray[np.int16] | NDArray[np.float16]) -> None:
    with path.open("ab") as file:
        file.write(array.tobytes())


def load_index(folder: Path) -> list[Utterance]:
    """The utterances of a data folder."""
    lines = (folder / "index.jsonl").read_text().splitlines()
    return [Utterance(**json.loads(line)) for line in lines]


def joined_model(folder: Path) -> Path:
    """Whisper base as a folder that CTranslate2 can open, joined from its two packages."""
    if not (folder / "model.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = [whisper.package_data(name) for name in whisper.PARTS]
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((parts[0] / name).read_bytes())
        data = (parts[0] / "model.bin.part1").read_bytes()
        (folder / "model.bin").write_bytes(data + (parts[1] / "model.bin.part2").read_bytes())
    return folder


def main() -> None:
    """Label the recordings named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--speed", type=float, default=1.0, help="play them at another speed")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = ctranslate2.models.Whisper(
        str(joined_model(options.out / "whisper")),
        compute_type="int8",
        intra_threads=options.threads,
    )
    prepare(options.recordings, options.out, model, options.speed)


if __name__ == "__main__":
    main()
