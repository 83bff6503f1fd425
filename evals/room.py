"""A device made of arrays in a room: its microphone hears its speaker."""

import time

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.echo import FrontEnd
from edge_omni.audio.reference import LEAD
from edge_omni.audio.resample import Resampler
from edge_omni.audio.virtual import FileDevice
from edge_omni.audio.voice_activity import FRAME
from evals.conditions import impulse_response

RATE = 16_000
HISS = 1e-4  # of full scale; no microphone is silent


class EchoingDevice(FileDevice):
    """A FileDevice whose speaker reaches its microphone.

    Args:
        pcm: what the microphone hears of everything else, float32 [n], 16 kHz.
        rate: sample rate of the speaker.
        front_end: cleans what the microphone hears; None leaves it as it is.
        gain: of the way from speaker to microphone.
        delay: seconds of that way; a device that reports its latency leaves some milliseconds.
        room: seconds until the room is silent by 60 dB.
        paced: keep to real time.
    """

    def __init__(
        self,
        pcm: NDArray[np.float32],
        rate: int,
        front_end: FrontEnd | None,
        *,
        gain: float = 1.0,
        delay: float = 0.01,
        room: float = 0.3,
        seed: int = 0,
        paced: bool = False,
    ) -> None:
        super().__init__(pcm, rate, paced=paced)
        self._front_end = front_end
        self._resampler = Resampler(rate, RATE)
        response = impulse_response(room, seed)
        response *= gain / np.sqrt(np.sum(np.square(response)))
        # As in `Reference`, what was played comes early to the front end.
        self._response = np.pad(response, (round((LEAD + delay) * RATE), 0))
        self._far = np.zeros(0, np.float32)
        self._echo = np.zeros(0)

    def _reaching(
        self, user: NDArray[np.float32], played: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        self._far = np.concatenate([self._far, self._resampler.push(played)])
        far = np.pad(self._far[: len(user)], (max(0, len(user) - len(self._far)), 0))
        self._far = self._far[len(user) :]
        heard = self.linear = user + self._convolved(far)
        if self._front_end is not None:
            heard = self._front_end.process(heard, far)
            self.linear = self._front_end.linear
        return heard

    def _convolved(self, far: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next samples of the echo, by overlap and add."""
        length = len(far) + len(self._response) - 1
        size = 1 << length.bit_length()
        echo = np.fft.irfft(np.fft.rfft(far, size) * np.fft.rfft(self._response, size), size)
        echo = echo[:length]
        echo[: len(self._echo)] += self._echo
        now, self._echo = echo[: len(far)], echo[len(far) :]
        return now.astype(np.float32)


class Stage(EchoingDevice):
    """A room in real time, or in less: computing takes its time there, and waiting does not.

    Args:
        echo: whether the microphone hears the speaker, and it is cancelled.
        paced: wait as long as in real time; otherwise the clock is this process's processor time,
            to which the time that it would wait is added. Use one thread for everything then.

    Attributes:
        speaking: for each 20 ms, whether the speaker played something. It may be ahead of the
            microphone, whose sound waits to be read.
    """

    def __init__(
        self,
        pcm: NDArray[np.float32],
        rate: int,
        *,
        echo: bool = True,
        gain: float = 1.0,
        paced: bool = False,
    ) -> None:
        self._skips = not paced
        self._dice = np.random.default_rng(0)
        front_end = FrontEnd() if echo else None
        super().__init__(pcm, rate, front_end, gain=gain if echo else 0.0, paced=True)
        self._coming = pcm
        self.speaking: list[bool] = []

    @property
    def finished(self) -> bool:
        """Never: whoever sets the scene ends it."""
        return False

    @property
    def now(self) -> float:
        """Seconds of the microphone that have been read."""
        return self._ticks * FRAME / RATE

    @property
    def time(self) -> float:
        """Seconds since it began, those included in which the microphone was not read."""
        return self._time() - self._started

    def _hear(self) -> NDArray[np.float32]:
        heard = super()._hear()
        self.ticked()
        return heard

    def ticked(self) -> None:
        """Another 20 ms are over. Override what is to happen."""

    def say(self, pcm: NDArray[np.float32]) -> None:
        """Let the user say something now, instead of what they were about to: float32 [n]."""
        self._coming = pcm

    def _play(self) -> NDArray[np.float32]:
        before = self.played
        sound = super()._play()
        self.speaking.append(self.played > before)
        return sound

    def _next(self) -> NDArray[np.float32]:
        now, self._coming = self._coming[:FRAME], self._coming[FRAME:]
        return now

    def _reaching(
        self, user: NDArray[np.float32], played: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        hiss = np.float32(HISS) * self._dice.standard_normal(len(user), np.float32)
        return super()._reaching(user + hiss, played)

    def _time(self) -> float:
        return time.process_time() if self._skips else time.monotonic()

    def _wait(self, seconds: float) -> None:
        if self._skips:
            self._started -= seconds
        else:
            time.sleep(seconds)
