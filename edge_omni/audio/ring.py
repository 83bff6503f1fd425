"""A ring of samples between one thread that writes and one that reads, without a lock."""

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Single producer, single consumer; all memory is taken at the start.

    `written` is moved by the producer alone and `taken` by the consumer alone. Both only grow,
    and each is moved after the samples are in place, so neither side ever waits for the other.

    Args:
        size: samples that can wait.
        keep: samples that can be taken again.
    """

    def __init__(self, size: int, keep: int = 0) -> None:
        self._buffer = np.zeros(size + keep, dtype=np.float32)
        self._size = size + keep
        self._keep = keep
        self.written = 0
        self.taken = 0

    @property
    def queued(self) -> int:
        """Samples that wait to be taken."""
        return self.written - self.taken

    @property
    def room(self) -> int:
        """Samples that can be written now."""
        return self._size - self._keep - self.queued

    def write(self, pcm: NDArray[np.float32]) -> int:
        """Takes in as much of float32 [n] as there is room for; returns how much that was."""
        count = min(len(pcm), self.room)
        start = self.written % self._size
        first = min(count, self._size - start)
        self._buffer[start : start + first] = pcm[:first]
        self._buffer[: count - first] = pcm[first:count]
        self.written += count
        return count

    def read_into(self, out: NDArray[np.float32]) -> int:
        """Fills the head of `out`, float32 [n], as far as there are samples; returns how many."""
        count = min(len(out), self.queued)
        start = self.taken % self._size
        first = min(count, self._size - start)
        out[:first] = self._buffer[start : start + first]
        out[first:count] = self._buffer[: count - first]
        self.taken += count
        return count

    def skip_to(self, position: int) -> None:
        """The consumer lets go of everything that was written before `position`."""
        self.taken = max(self.taken, position)

    def rewind(self, count: int) -> None:
        """The last `count` samples are to be taken again, at most those that were kept. Only while
        the consumer rests."""
        self.taken -= min(count, self._keep, self.taken)
