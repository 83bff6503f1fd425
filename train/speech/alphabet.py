"""The characters that the speech decoder reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHARACTERS = "\0^$ abcdefghijklmnopqrstuvwxyz'-,.?!;:"
"""By id: padding, beginning and end of a sentence, then what is read. Also in the manifest."""
_IDS = {character: i for i, character in enumerate(CHARACTERS)}


def encode(text: str) -> NDArray[np.int64]:
    """Ids of a text, which may hold ``^`` and ``$``; characters without an id are left out."""
    return np.array([_IDS[c] for c in text.lower() if c in _IDS], np.int64)
