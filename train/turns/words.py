"""Cut what listeners say out of recordings of people: "I see", "well", "of course".

    python -m train.turns.words OUT recordings/*.flac

Voices that read text sound unlike people; if people only ever interrupted in the scenes, it would
be learnt that whoever sounds like a person interrupts.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from tqdm import tqdm

from edge_omni.audio import files
from evals.judge import model_folder

RATE = 16_000
SAID = {
    "well", "right", "great", "good", "fine", "true", "oh", "ah", "sure", "yes", "really", "indeed",
    "certainly", "exactly", "surely", "of course", "i see", "i know", "all right", "very well",
    "very good", "quite right", "quite so", "just so", "oh yes", "ah yes", "oh well",
}  # fmt: skip
SHORTEST, LONGEST = 0.18, 0.9  # seconds
AROUND = 0.03  # seconds of what is around a word that are kept, since times are not exact
SURE = 0.5  # probability of a word


def cut(model: WhisperModel, pcm: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Every such word, or two of them, in a recording: float32 [n] at 16 kHz, faded at its ends."""
    segments, _ = model.transcribe(pcm, language="en", beam_size=1, word_timestamps=True)
    words = [word for segment in segments for word in segment.words or ()]
    for i in range(len(words)):
        for some in (words[i : i + 1], words[i : i + 2]):
            text = " ".join(re.sub("[^a-z]", "", word.word.lower()) for word in some)
            start, end = some[0].start, some[-1].end
            sure = min(word.probability for word in some) > SURE
            if text in SAID and sure and SHORTEST < end - start < LONGEST:
                yield _faded(pcm[max(0, int((start - AROUND) * RATE)) : int((end + AROUND) * RATE)])


def _faded(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    slope = np.minimum(1, np.arange(1, len(pcm) + 1) / (AROUND * RATE))
    return np.asarray(pcm * slope * slope[::-1], np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    model = WhisperModel(str(model_folder()), device="cpu", compute_type="int8", cpu_threads=1)
    for path in tqdm(options.recordings):
        for number, word in enumerate(cut(model, files.read(path))):
            soundfile.write(options.out / f"{path.stem}-{number}.flac", word, RATE)


if __name__ == "__main__":
    main()
