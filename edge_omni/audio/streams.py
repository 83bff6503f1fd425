"""A microphone and a speaker as streams of PortAudio that can be opened again.

The two callbacks run in PortAudio's threads and only copy between the device's buffer and rings
that were allocated beforehand: no lock, no waiting, no resampling. All else happens in the thread
that owns them.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.devices import Device, Kind, portaudio, settings
from edge_omni.audio.reference import Reference, Stamp
from edge_omni.audio.resample import Resampler, resample
from edge_omni.audio.ring import Ring
from edge_omni.errors import DeviceError

INPUT_RATE = 16_000
BLOCK = 0.02  # seconds per callback
# Two blocks are the least that PortAudio takes; below five a busy machine is heard as crackling.
LATENCY = 0.1  # seconds
INPUT_ROOM = 30.0  # seconds of microphone that wait while the LLM is busy
OUTPUT_ROOM = 60.0  # seconds of answer that wait to be heard
UNHEARD = 2.0  # seconds that a device may have taken and not played when it vanishes
SILENT_DEATH = 3.0  # seconds without a callback: the device is gone, though nothing said so
FADE = 0.005  # seconds: an answer that is cut off ends without a click


class Stream(ABC):
    """What a microphone and a speaker have in common: a stream that can be opened again."""

    kind: Kind

    def __init__(self) -> None:
        self.name = ""
        self.rate = 0
        self._stream: Any = None
        self._ended = False
        self._called = 0.0

    @abstractmethod
    def _prepare(self, rate: int) -> None:
        """Makes room for a device with this rate; what waits is kept."""

    @abstractmethod
    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        """What PortAudio calls for each block, in a thread of its own."""

    def open(self, device: Device) -> None:
        """Starts to listen or to play.

        Raises:
            DeviceError: the device cannot be opened.
        """
        sd = portaudio()
        opener = sd.InputStream if self.kind == "input" else sd.OutputStream
        try:
            rate, channels = settings(device, self.kind)
            self._prepare(rate)
            self.name, self.rate = device.name, rate
            self._ended, self._called = False, time.monotonic()
            self._stream = opener(
                device=device.index,
                samplerate=rate,
                blocksize=round(BLOCK * rate),
                channels=channels,
                dtype="float32",
                latency=LATENCY,
                callback=self._callback,
                finished_callback=self._finished,
            )
            self._stream.start()
        except sd.PortAudioError as error:
            self.close()
            raise DeviceError(
                f"{device.name} cannot be opened ({error}). Another program may hold it; "
                "choose another device (edge-omni devices lists them)."
            ) from error

    @property
    def gone(self) -> bool:
        """Whether the device has stopped, or has not called for too long."""
        return self._ended or time.monotonic() - self._called > SILENT_DEATH

    def close(self) -> None:
        """Lets the device go, at once. It can be opened again."""
        if self._stream is not None:
            self._stream.close(ignore_errors=True)
            self._stream = None

    def _latency(self, reported: float) -> float:
        """What PortAudio says of this block in seconds, or of the stream where that is nonsense:
        some drivers leave out the time of the block."""
        return max(0.0, reported) if abs(reported) < UNHEARD else float(self._stream.latency)

    def _finished(self) -> None:
        self._ended = True


class Microphone(Stream):
    kind: Kind = "input"

    def __init__(self) -> None:
        super().__init__()
        self._ring = Ring(1)
        self._resampler = Resampler(INPUT_RATE, INPUT_RATE)
        self._rest = np.zeros(0, np.float32)
        self._given = 0  # samples at 16 kHz since the device was opened
        self._captured: Stamp | None = None  # written by the callback
        self.overflows = 0

    def _prepare(self, rate: int) -> None:
        self._rest = np.concatenate([self.take(), self._resampler.flush()])
        self._ring = Ring(round(INPUT_ROOM * rate))
        self._resampler = Resampler(rate, INPUT_RATE)
        self._given = 0
        self._captured = None

    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        self._called = time.monotonic()
        kept = self._ring.write(block[:, 0])
        if status.input_overflow or kept < frames:
            self.overflows += 1
        age = self._latency(when.currentTime - when.inputBufferAdcTime)
        self._captured = Stamp(self._ring.written, self._called - age + frames / self.rate)

    def take(self) -> NDArray[np.float32]:
        """What waits: float32 [n] at 16 kHz."""
        pcm = np.empty(self._ring.queued, dtype=np.float32)
        self._ring.read_into(pcm)
        now = self._resampler.push(pcm) if len(pcm) else pcm
        self._given += len(now)
        if len(self._rest):
            now, self._rest = np.concatenate([self._rest, now]), now[:0]
        return now

    @property
    def stamp(self) -> Stamp | None:
        """When the first sample was heard that `take` gives next, as sample 0."""
        captured = self._captured
        if captured is None or len(self._rest):
            return None
        ahead = captured.samples / self.rate - self._given / INPUT_RATE
        return Stamp(0, captured.time - ahead)


class _Block(NamedTuple):
    """What the speaker's callback handed to the device: ``length`` samples of the answer, from its
    sample ``start`` on, heard from ``time`` on."""

    start: int
    length: int
    time: float


class Speaker(Stream):
    """Counts in two ways: the ring and the callback in samples of the device's, from when it was
    opened; `played` and its like in samples at `output_rate`, from the first device on."""

    kind: Kind = "output"

    def __init__(self, output_rate: int) -> None:
        super().__init__()
        self._output_rate = output_rate
        self._ring = Ring(1)
        self._resampler = Resampler(output_rate, output_rate)
        self._fade = np.zeros(0, np.float32)
        self._accepted = 0  # samples at output_rate that were written and not dropped
        self._before = 0  # of them, those that were played before this device was opened
        self._inside = False  # whether the resampler holds something back
        self._played = 0  # PortAudio's word on the delay trembles; time must not run backwards
        self._volume = 1.0  # that the callback has reached
        # Shared with the callback: one side writes each of them, the other only reads.
        self.volume = 1.0
        self._drop_before = 0  # a position in the ring; written by clear
        self._dropped = 0  # samples at the device's rate; written by the callback
        self._blocks: deque[_Block] = deque(maxlen=round(UNHEARD / BLOCK))  # by the callback
        self._given: Stamp | None = None  # by the callback
        self.reference = Reference(INPUT_RATE, 0.0)
        self.underflows = 0

    def _prepare(self, rate: int) -> None:
        waiting = self._take_back()
        self._before = self._accepted - round(len(waiting) * self._scale) if self.rate else 0
        self._ring = Ring(round((OUTPUT_ROOM + UNHEARD) * rate), keep=round(UNHEARD * rate))
        self._ring.write(resample(waiting, self.rate or rate, rate))
        self._resampler = Resampler(self._output_rate, rate)
        self._fade = np.linspace(1.0, 0.0, round(FADE * rate), dtype=np.float32)
        self._ramp = np.linspace(0.0, 1.0, round(BLOCK * rate), dtype=np.float32)
        self._drop_before = self._dropped = 0
        self._blocks.clear()
        self._given = None
        self.reference = Reference(rate, INPUT_ROOM)

    def _take_back(self) -> NDArray[np.float32]:
        """What was written and not heard: float32 [n] at the rate of the device that has gone."""
        if not self.rate:
            return np.zeros(0, np.float32)
        if self._inside:
            self._ring.write(self._resampler.flush())
            self._inside = False
        self._ring.skip_to(self._drop_before)
        unheard = self._ring.taken - self._dropped - self._left(self._called)
        self._ring.rewind(min(unheard, self._ring.taken - self._drop_before))
        waiting = np.empty(self._ring.queued, np.float32)
        self._ring.read_into(waiting)
        return waiting

    @property
    def _scale(self) -> float:
        return self._output_rate / self.rate

    def _callback(self, block: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        self._called = time.monotonic()
        if status.output_underflow:
            self.underflows += 1
        out = block[:, 0]
        start = self._ring.taken - self._dropped
        doomed = self._drop_before - self._ring.taken
        if doomed > 0:
            count = self._ring.read_into(out[: min(doomed, len(self._fade))])
            np.multiply(out[:count], self._fade[:count], out=out[:count])
            self._dropped += doomed - count
            self._ring.skip_to(self._drop_before)
        else:
            count = self._ring.read_into(out)
        out[count:] = 0.0
        volume = self.volume
        if volume != 1.0 or self._volume != 1.0:
            out *= self._volume + (volume - self._volume) * self._ramp[:frames]
            self._volume = volume
        block[:, 1:] = block[:, :1]
        heard_at = self._called + self._latency(when.outputBufferDacTime - when.currentTime)
        self._blocks.append(_Block(start, count, heard_at))
        self.reference.played.write(out)
        self._given = Stamp(self.reference.played.written, heard_at + frames / self.rate)

    @property
    def stamp(self) -> Stamp | None:
        """How many samples of `reference.played` will have left the speaker when."""
        return self._given

    @property
    def full(self) -> bool:
        """Whether a minute is queued, so that another second might find no room."""
        return self._ring.queued > OUTPUT_ROOM * self.rate

    def write(self, pcm: NDArray[np.float32]) -> None:
        """Queues float32 [n] at `output_rate`, at most a second, if it is not `full`."""
        self._accepted += len(pcm)
        self._inside = True
        self._ring.write(self._resampler.push(pcm))

    def flush(self) -> None:
        """Before the speaker runs dry, what the resampler holds back goes out.

        It is the answer's end, or the next sound is late and there will be a gap anyway.
        """
        if self._inside and self._ring.queued < 2 * BLOCK * self.rate:
            self._ring.write(self._resampler.flush())
            self._inside = False

    def clear(self) -> None:
        self._resampler.reset()
        self._inside = False
        self._drop_before = self._ring.written
        self._accepted = self.committed

    @property
    def played(self) -> int:
        """Counts up to exactly what was written, whatever resampling has rounded."""
        now = time.monotonic() if self._stream is not None else self._called
        left = self._left(now)
        heard = self._before + round(left * self._scale)
        if not self.queued and left == self._ring.taken - self._dropped:
            heard = self._accepted
        self._played = max(self._played, min(heard, self._accepted))
        return self._played

    @property
    def committed(self) -> int:
        taken = round((self._ring.taken - self._dropped) * self._scale)
        return min(self._accepted, self._before + taken)

    @property
    def queued(self) -> int:
        waiting = self._ring.written - max(self._ring.taken, self._drop_before)
        if not waiting and not self._inside:
            return 0
        return max(1, self._accepted - self.committed)

    def _left(self, now: float) -> int:
        """Samples of the answer that had left the speaker at a time, at the device's rate."""
        for block in reversed(self._blocks.copy()):
            if block.time <= now:
                return block.start + min(block.length, round((now - block.time) * self.rate))
        return self._blocks[0].start if self._blocks else 0
