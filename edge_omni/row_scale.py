"""What rows of an embedding table are to be multiplied by, so that an LLM reads them as its tokens.

llama.cpp multiplies the embeddings of Gemma 3, 3n and 4 by sqrt(width) where it is handed tokens
and not where it is handed rows. Which LLMs are treated so is not asked by name but measured: a
token is read both ways and the hidden states compared.

A factor cannot be searched for: llama.cpp rounds activations to 8 bits, and a factor that is off by
a thousandth already moves the hidden states of Gemma 3 270M by half of their standard deviation.
So those that exist are tried, and the right one leaves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-3
"""A difference of hidden states, over their standard deviation, that is none."""


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The largest difference between two hidden states over the second's standard deviation."""
    return float(np.abs(a - b).max() / max(float(b.std()), 1e-12))


def row_scale(error: Callable[[float], float], width: int) -> tuple[float, float]:
    """The scale that leaves the least difference, and that difference.

    Args:
        error: the difference that a scale leaves; asked for as few as possible, once for most LLMs.
        width: of the embeddings.
    """
    tried: list[tuple[float, float]] = []
    for scale in (1.0, math.sqrt(width)):
        tried.append((error(scale), scale))
        if tried[-1][0] <= LEAST:
            break
    least, best = min(tried)
    return best, least
