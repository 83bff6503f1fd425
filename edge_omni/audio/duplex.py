"""Microphone and speaker at once, for as long as a conversation lasts."""

import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_omni.audio.devices import find, refresh
from edge_omni.audio.echo import FrontEnd
from edge_omni.audio.streams import BLOCK, Microphone, Speaker
from edge_omni.errors import DeviceError

POLL = 0.005  # seconds; the callbacks signal nothing, since signalling takes a lock
RETRY = 1.0  # seconds between two looks for a device that has gone
PATIENCE = 3600.0  # seconds until a device that has gone is given up
TELL = 60.0  # seconds between two words about sound that broke off


def _silent(message: str) -> None:
    """Tells nobody."""


class Duplex:
    """An open microphone and an open speaker.

    `read` gives 16 kHz, `write` takes `output_rate`; the devices run at rates of their own. When
    one of them vanishes, both rest until both are there again (or until others are, if they are
    the defaults); what was heard until then is read, and what was not yet played is played then.
    All methods are for one thread.

    Args:
        microphone, speaker: a device's index or part of its name; the default device if None.
        output_rate: of what is written, in Hz.
        front_end: cleans what the microphone hears; None leaves it as it is.
        patience: seconds until a device that has gone is given up.
        tell: called with a line for the person at the keyboard when a device goes, when it is
            back, and when sound broke off because the machine is too busy.

    Attributes:
        linear: float32 [n], the samples that `read` returned last, with the user's voice left
            whole: see `FrontEnd.linear`.

    Raises:
        DeviceError: a device is not there or cannot be opened.
    """

    def __init__(
        self,
        microphone: str | int | None = None,
        speaker: str | int | None = None,
        *,
        output_rate: int,
        front_end: FrontEnd | None = None,
        patience: float = PATIENCE,
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self.output_rate = output_rate
        self._wanted = microphone, speaker
        self._front_end = front_end
        self._patience = patience
        self._tell = tell
        self._microphone = Microphone()
        self._speaker = Speaker(output_rate)
        self._gone_since: float | None = None
        self._gone: list[str] = []
        self._next_look = 0.0
        self.linear = np.zeros(0, np.float32)
        self._told = -TELL
        self._told_of = 0
        self._open()

    def read(self, timeout: float = 0.1) -> NDArray[np.float32]:
        """What the microphone heard since the last call: float32 [n] at 16 kHz.

        Waits up to `timeout` seconds for the first sample; n is 0 if none came, as while a device
        has gone.

        Raises:
            DeviceError: a device has gone for longer than `patience`.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._attend()
            pcm = self._heard()
            remaining = deadline - time.monotonic()
            if len(pcm) or remaining <= 0:
                return pcm
            time.sleep(min(POLL, remaining))

    def write(self, pcm: NDArray[np.float32]) -> None:
        """Queues float32 [n] at `output_rate`.

        Returns at once unless a minute is queued already; then it waits for room.
        """
        for start in range(0, len(pcm), self.output_rate):
            while self._speaker.full:
                time.sleep(BLOCK)
                self._attend()
            self._speaker.write(pcm[start : start + self.output_rate])

    def clear(self) -> None:
        """Drops what is queued (barge-in): the speaker falls silent within a block."""
        self._speaker.clear()

    @property
    def volume(self) -> float:
        """How loud the speaker plays, 0 to 1. A new value is reached within a block, 20 ms, by
        what the device takes next."""
        return self._speaker.volume

    @volume.setter
    def volume(self, volume: float) -> None:
        self._speaker.volume = volume

    @property
    def away(self) -> bool:
        """Whether a device has gone and is waited for."""
        return self._gone_since is not None

    @property
    def finished(self) -> bool:
        """A microphone never ends."""
        return False

    @property
    def played(self) -> int:
        """Samples at `output_rate` that have been heard, the speaker's latency considered."""
        return self._speaker.played

    @property
    def committed(self) -> int:
        """Samples at `output_rate` that have been heard or that no `clear` can hold back: the
        device has them already."""
        return self._speaker.committed

    @property
    def queued(self) -> int:
        """Samples at `output_rate` that the speaker has not taken yet."""
        return self._speaker.queued

    @property
    def overflows(self) -> int:
        """How many blocks of the microphone were lost: nobody took them in time."""
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

    def _heard(self) -> NDArray[np.float32]:
        """What waits of the microphone, cleaned."""
        first = self._microphone.stamp
        pcm = self._microphone.take()
        self.linear = pcm
        if self._front_end is None or not len(pcm):
            return pcm
        far = self._speaker.reference.take(len(pcm), first, self._speaker.stamp)
        pcm = self._front_end.process(pcm, far)
        self.linear = self._front_end.linear
        return pcm

    def _open(self) -> None:
        microphone = find(self._wanted[0], "input")
        speaker = find(self._wanted[1], "output")
        try:
            self._microphone.open(microphone)
            self._speaker.open(speaker)
        except DeviceError:
            self.close()
            raise

    def _attend(self) -> None:
        """Notices a device that has gone, and looks for it until it is there again."""
        if self._gone_since is None:
            self._gone = [d.name for d in (self._microphone, self._speaker) if d.gone]
            if not self._gone:
                self._speaker.flush()
                self._tell_of_breaks()
                return
            self.close()
            self._gone_since = time.monotonic()
            names = " and ".join(dict.fromkeys(self._gone))
            self._tell(f"{names} has gone. Connect it again; Ctrl-C ends the conversation.")
        if time.monotonic() < self._next_look:
            return
        try:
            refresh()
            self._open()
        except DeviceError as error:
            if time.monotonic() - self._gone_since > self._patience:
                raise DeviceError(
                    f"{self._gone[0]} has gone, and it did not come back within "
                    f"{self._patience:.0f} s. Connect it and start anew, or choose another device "
                    "(edge-omni devices lists them)."
                ) from error
            self._next_look = time.monotonic() + RETRY
            return
        self._gone_since = None
        if self._front_end is not None:
            self._front_end.reset()
        self._tell(f"{self._microphone.name} hears you and {self._speaker.name} speaks again.")

    def _tell_of_breaks(self) -> None:
        lost = self.overflows + self.underflows
        if lost > self._told_of and time.monotonic() - self._told > TELL:
            self._told, self._told_of = time.monotonic(), lost
            self._tell(
                f"This machine is too busy: sound broke off ({self.overflows} times from the "
                f"microphone, {self.underflows} times to the speaker). Close other programs."
            )
