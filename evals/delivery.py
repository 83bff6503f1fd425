"""How an answer is spoken: clipping, silence, words that are skipped or said twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray

from evals.text import normalise

FRAME = 0.02  # s
QUIET = 0.01  # of the loudest frame: 40 dB below it
FULL = 0.999


def sound(pcm: NDArray[np.float32], rate: int) -> dict[str, Any]:
    """Figures of an answer's sound, float32 [samples] at ``rate``.

    Returns:
        ``seconds`` in all, ``spoken`` from the first sound to the last, of these ``silent`` and
        ``longest_silence`` (seconds in frames of 20 ms whose power is 40 dB below the loudest),
        ``samples`` and how many of them are ``clipped``.
    """
    size = int(rate * FRAME)
    frames = pcm[: len(pcm) // size * size].reshape(-1, size)
    loudness = np.sqrt(np.mean(np.square(frames), axis=1))
    heard = np.flatnonzero(loudness > QUIET * loudness.max(initial=0))
    gaps = np.diff(heard) - 1
    return {
        "seconds": len(pcm) / rate,
        "spoken": float(heard[-1] - heard[0] + 1) * FRAME if len(heard) else 0.0,
        "silent": float(gaps.sum()) * FRAME,
        "longest_silence": float(gaps.max(initial=0)) * FRAME,
        "samples": len(pcm),
        "clipped": int(np.count_nonzero(np.abs(pcm) >= FULL)),
    }


@dataclass(frozen=True)
class Words:
    """What became of the words of a text.

    Attributes:
        wanted: how many the text has.
        skipped: not heard at all.
        misheard: heard as another word.
        repeated: heard once more, right behind or before themselves.
        added: heard, not in the text, and no repetition.
    """

    wanted: int
    skipped: int
    misheard: int
    repeated: int
    added: int


def words(text: str, heard: str) -> Words:
    """Aligns what was heard with the text."""
    wanted, found = normalise(text).split(), normalise(heard).split()
    if not wanted:
        return Words(0, 0, 0, 0, len(found))
    aligned = jiwer.process_words(" ".join(wanted), " ".join(found))
    repeated = 0
    for part in aligned.alignments[0]:
        start, end = part.hyp_start_idx, part.hyp_end_idx
        count = end - start
        if part.type == "insert" and found[start:end] in (
            found[max(0, start - count) : start],
            found[end : end + count],
        ):
            repeated += count
    return Words(
        len(wanted),
        aligned.deletions,
        aligned.substitutions,
        repeated,
        aligned.insertions - repeated,
    )
