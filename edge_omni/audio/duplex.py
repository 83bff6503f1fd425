"""Microphone and speaker at once, through PortAudio.

The two callbacks run in PortAudio's threads and only copy between the device's buffer and a ring
that was allocated beforehand: no lock, no waiting, no resampling. All else happens in the thread
that calls `read` and `write`.
"""

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.devices import Device, Kind, find, portaudio
from edge_omni.audio.resample import Resampler
from edge_omni.audio.ring import Ring
from edge_omni.errors import DeviceError

INPUT_RATE = 16_000
BLOCK = 0.02  # seconds per callback
# Two blocks are the least that PortAudio takes; below five a busy machine is heard as crackling.
LATENCY = 0.1  # seconds
INPUT_ROOM = 30.0  # seconds of microphone that wait while the LLM is busy
OUTPUT_ROOM = 60.0  # seconds of answer that wait to be heard
POLL = 0.005  # seconds; the callbacks signal nothing, since signalling takes a lock
SILENT_DEATH = 3.0  # seconds without a callback: the device is gone, though nothing said so
FADE = 0.005  # seconds: an answer that is cut off ends without a click


class Duplex:
    """An open microphone and an open speaker.

    `read` gives 16 kHz, `write` takes `output_rate`; the devices run at rates of their own.
    All methods are for one thread.

    Args:
        microphone, speaker: a device's index or part of its name; the default device if None.
        output_rate: of what is written, in Hz.

    Raises:
        DeviceError: a device is not there or cannot be opened.
    """

    def __init__(
        self,
        microphone: str | int | None = None,
        speaker: str | int | None = None,
        *,
        output_rate: int,
    ) -> None:
        self.output_rate = output_rate
        self._microphone = _Microphone(find(microphone, "input"))
        try:
            self._speaker = _Speaker(find(speaker, "output"), output_rate)
        except DeviceError:
            self._microphone.close()
            raise

    def read(self, timeout: float = 0.1) -> NDArray[np.float32]:
        """What the microphone heard since the last call: float32 [n] at 16 kHz.

        Waits up to `timeout` seconds for the first sample; n is 0 if none came.

        Raises:
            DeviceError: either device has vanished.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._speaker.look_after()
            pcm = self._microphone.take()
            if len(pcm):
                return pcm
            self._microphone.check()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return pcm
            time.sleep(min(POLL, remaining))

    def write(self, pcm: NDArray[np.float32]) -> None:
        """Queues float32 [n] at `output_rate`.

        Returns at once unless a minute is queued already; then it waits for room.
        """
        self._speaker.write(pcm)

    def clear(self) -> None:
        """Drops what is queued (barge-in): the speaker falls silent within a block."""
        self._speaker.clear()

    @property
    def finished(self) -> bool:
        """A microphone never ends."""
        return False

    @property
    def played(self) -> int:
        """Samples at `output_rate` that have been heard, the speaker's latency considered."""
        return self._speaker.played

    @property
    def queued(self) -> int:
        """Samples at `output_rate` that the speaker has not taken yet."""
        return self._speaker.queued

    @property
    def overflows(self) -> int:
        """How many blocks of the microphone were lost because nobody read them in time."""
        return self._microphone.overflows

    @property
    def underflows(self) -> int:
        """How often the speaker ran dry inside PortAudio: the machine is too busy."""
        return self._speaker.underflows

    def close(self) -> None:
        """Lets both devices go, at once."""
        self._microphone.close()
        self._speaker.close()

    def __enter__(self) -> "Duplex":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Device(ABC):
    """What an open microphone and an open speaker have in common."""

    def __init__(self, device: Device, kind: Kind) -> None:
        self.device = device
        self._ended = False
        self._called = time.monotonic()
        sd = portaudio()
        opener = sd.InputStream if kind == "input" else sd.OutputStream
        try:
            self._stream: Any = opener(
                device=device.index,
                samplerate=device.rate,
                blocksize=round(BLOCK * device.rate),
                channels=self._channels(device),
                dtype="float32",
                latency=LATENCY,
                callback=self._callback,
                finished_callback=self._finished,
            )
            self._stream.start()
        except sd.PortAudioError as error:
            raise DeviceError(
                f"{device.name} cannot be opened ({error}). Another program may hold it; "
                "choose another device (edge-omni devices lists them)."
            ) from error

    def _channels(self, device: Device) -> int:
        return 1

    @abstractmethod
    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        """What PortAudio calls for each block, in a thread of its own."""

    def _finished(self) -> None:
        self._ended = True

    def check(self) -> None:
        """Raises DeviceError if the device has stopped, or has not called for too long."""
        if self._ended or time.monotonic() - self._called > SILENT_DEATH:
            raise DeviceError(
                f"{self.device.name} has gone. Connect it again and start anew, or choose "
                "another device (edge-omni devices lists them)."
            )

    def close(self) -> None:
        self._stream.close(ignore_errors=True)


class _Microphone(_Device):
    def __init__(self, device: Device) -> None:
        self._ring = Ring(round(INPUT_ROOM * device.rate))
        self._resampler = Resampler(device.rate, INPUT_RATE)
        self.overflows = 0
        super().__init__(device, "input")

    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        self._called = time.monotonic()
        if status.input_overflow or self._ring.write(block[:, 0]) < frames:
            self.overflows += 1

    def take(self) -> NDArray[np.float32]:
        pcm = np.empty(self._ring.queued, dtype=np.float32)
        self._ring.read_into(pcm)
        return self._resampler.push(pcm) if len(pcm) else pcm


class _Speaker(_Device):
    def __init__(self, device: Device, output_rate: int) -> None:
        self._ring = Ring(round(OUTPUT_ROOM * device.rate))
        self._resampler = Resampler(output_rate, device.rate)
        self._scale = output_rate / device.rate
        self._fade = np.linspace(1.0, 0.0, round(FADE * device.rate), dtype=np.float32)
        self._accepted = 0  # samples at output_rate that were written and not dropped
        self._inside = False  # whether the resampler holds something back
        # Shared with the callback: one side writes each of them, the other only reads.
        self._drop_before = 0  # a position in the ring; written by clear
        self._dropped = 0  # samples at the device's rate; written by the callback
        self._heard_at = 0.0  # monotonic time at which the last sample taken is heard; callback
        self._played = 0  # PortAudio's word on the delay trembles; time must not run backwards
        self.underflows = 0
        super().__init__(device, "output")

    def _channels(self, device: Device) -> int:
        return min(2, device.outputs)  # one channel of a stereo card would be its left side

    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        self._called = time.monotonic()
        if status.output_underflow:
            self.underflows += 1
        out = block[:, 0]
        doomed = self._drop_before - self._ring.taken
        if doomed > 0:
            count = self._ring.read_into(out[: min(doomed, len(self._fade))])
            np.multiply(out[:count], self._fade[:count], out=out[:count])
            self._dropped += doomed - count
            self._ring.skip_to(self._drop_before)
        else:
            count = self._ring.read_into(out)
        out[count:] = 0.0
        block[:, 1:] = block[:, :1]
        if count:
            delay = max(0.0, when.outputBufferDacTime - when.currentTime)
            self._heard_at = self._called + delay + count / self.device.rate

    def write(self, pcm: NDArray[np.float32]) -> None:
        self._accepted += len(pcm)
        self._inside = True
        self._put(self._resampler.push(pcm))

    def look_after(self) -> None:
        """Before the speaker runs dry, what the resampler holds back goes out.

        It is the answer's end, or the next sound is late and there will be a gap anyway.
        """
        self.check()
        if self._inside and self._ring.queued < 2 * BLOCK * self.device.rate:
            self._put(self._resampler.flush())
            self._inside = False

    def clear(self) -> None:
        self._resampler.reset()
        self._inside = False
        self._drop_before = self._ring.written
        self._accepted = round((self._ring.taken - self._dropped) * self._scale)

    @property
    def played(self) -> int:
        """Counts up to exactly what was written, whatever resampling has rounded."""
        unheard = max(0.0, self._heard_at - time.monotonic()) * self.device.rate
        heard = round((self._ring.taken - self._dropped - unheard) * self._scale)
        if not self.queued and unheard == 0:
            heard = self._accepted
        self._played = max(self._played, min(heard, self._accepted))
        return self._played

    @property
    def queued(self) -> int:
        waiting = self._ring.written - max(self._ring.taken, self._drop_before)
        if not waiting and not self._inside:
            return 0
        taken = round((self._ring.taken - self._dropped) * self._scale)
        return max(1, self._accepted - taken)

    def _put(self, pcm: NDArray[np.float32]) -> None:
        while len(pcm):
            pcm = pcm[self._ring.write(pcm) :]
            if len(pcm):
                self.check()
                time.sleep(BLOCK)
