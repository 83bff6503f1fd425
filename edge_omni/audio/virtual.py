"""A sound device made of arrays: the loop's audio clock for files and for tests."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.voice_activity import FRAME, RATE


class FileDevice:
    """Plays ``pcm`` into the microphone and records what the speaker plays.

    The clock ticks, 20 ms at a time, when the microphone is read. Paced, a tick waits for its time,
    and what was late is read at once; the speaker goes on by itself, so that what is written or
    cleared late changes nothing of what it has played by then. Otherwise computing takes no time on
    this clock, and the same input always gives the same recording. After the input there is silence
    for as long as anybody reads.

    Args:
        pcm: the microphone's signal, float32 [n], 16 kHz.
        rate: sample rate of the speaker.
        paced: keep to real time.

    Attributes:
        queued, played: samples at ``rate`` that wait, and that have been heard.
        linear: the samples that `read` returned last, the user's voice left whole.
    """

    def __init__(self, pcm: NDArray[np.float32], rate: int, *, paced: bool = False) -> None:
        self._pcm = pcm
        self._rate = rate
        self._paced = paced
        self._ticks = self._plays = 0
        self._started = self._time()
        self._queue: list[NDArray[np.float32]] = []
        self._recording: list[NDArray[np.float32]] = []
        self._unread: deque[NDArray[np.float32]] = deque()
        self._due = 0.0
        self._volume = 1.0
        self.linear = np.zeros(0, np.float32)
        self.queued = 0
        self.played = 0

    @property
    def committed(self) -> int:
        """Samples at ``rate`` that no `clear` can hold back: those that have been heard."""
        return self.played

    @property
    def volume(self) -> float:
        """How loud the speaker plays, 0 to 1."""
        return self._volume

    @volume.setter
    def volume(self, volume: float) -> None:
        self._catch_up()
        self._volume = volume

    @property
    def finished(self) -> bool:
        """Whether the whole input has been read."""
        return self._ticks * FRAME >= len(self._pcm)

    def read(self, timeout: float | None = None) -> NDArray[np.float32]:
        """The next 20 ms of the microphone, or paced all that have passed: float32 [320 n]. With
        ``timeout`` 0 paced reading gives an empty array when none have."""
        if self._paced:
            early = self._until(self._ticks + 1)
            if early > 0:
                if timeout == 0:
                    return np.empty(0, np.float32)
                self._wait(early)
        heard, linear = [self._hear()], [self.linear]
        while self._paced and self._until(self._ticks + 1) <= 0:
            heard.append(self._hear())
            linear.append(self.linear)
        self.linear = np.concatenate(linear)
        return np.concatenate(heard)

    def _hear(self) -> NDArray[np.float32]:
        """One tick of the microphone: float32 [320]."""
        frame = self._next()
        self._ticks += 1
        if not self._unread:
            self._tick()
        self.linear = np.pad(frame, (0, FRAME - len(frame)))
        return self._reaching(self.linear, self._unread.popleft())

    def _until(self, ticks: int) -> float:
        """Seconds until so many ticks are over."""
        return self._started + ticks * FRAME / RATE - self._time()

    def _tick(self) -> None:
        """Play for 20 ms."""
        self._plays += 1
        played = self._play()
        self._recording.append(played)
        self._unread.append(played)

    def _catch_up(self) -> None:
        """Play what is due by now."""
        while self._paced and self._until(self._plays + 1) <= 0:
            self._tick()

    def _next(self) -> NDArray[np.float32]:
        """What comes next at the microphone: float32, at most 20 ms."""
        return self._pcm[self._ticks * FRAME :][:FRAME]

    def _time(self) -> float:
        """The clock that pacing goes by, in seconds."""
        return time.monotonic()

    def _wait(self, seconds: float) -> None:
        """Let so much time pass."""
        time.sleep(seconds)

    def _reaching(
        self, user: NDArray[np.float32], played: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What `read` returns of the user, float32 [320], while ``played`` is heard: here the
        speaker is out of the microphone's reach."""
        return user

    def write(self, pcm: NDArray[np.float32]) -> None:
        """Queue sound for the speaker: float32 [n] at its rate."""
        self._catch_up()
        self._queue.append(pcm)
        self.queued += len(pcm)

    def clear(self) -> None:
        """Drop what is queued."""
        self._catch_up()
        self._queue.clear()
        self.queued = 0

    def recording(self, *, whole: bool = False) -> NDArray[np.float32]:
        """What the speaker has played, from its first sound to its last, or with ``whole`` from
        the microphone's first sample on: float32 [n]."""
        recorded = np.concatenate([*self._recording, np.empty(0, np.float32)])
        if whole:
            return recorded
        loud = np.flatnonzero(recorded)
        return recorded[loud[0] : loud[-1] + 1] if len(loud) else recorded[:0]

    def _play(self) -> NDArray[np.float32]:
        """What the speaker plays in a tick, silence included: float32 [n] at its rate."""
        self._due += FRAME / RATE * self._rate
        wanted = int(self._due)
        self._due -= wanted
        waiting = np.concatenate([*self._queue, np.empty(0, np.float32)])
        now, later = waiting[:wanted], waiting[wanted:]
        self._queue = [later] if len(later) else []
        self.queued = len(later)
        self.played += len(now)
        return np.pad(now * np.float32(self._volume), (0, wanted - len(now)))
