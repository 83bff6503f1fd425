"""An hour on two clocks, simulated: where the reference for echo cancellation ends up."""

from dataclasses import dataclass

import numpy as np

from edge_omni.audio.reference import LEAD, RATE, Reference, Stamp

BLOCK = 0.2  # seconds that are read at once
TREMBLE = 0.005  # seconds; standard deviation of what the devices report
SETTLED = 120.0  # seconds until it is looked at
_PERIOD = 1 << 16  # samples of the saw tooth that is played


@dataclass(frozen=True)
class Drift:
    """What became of the reference.

    Attributes:
        ppm: how much faster the speaker's clock ran.
        off: the largest distance from where the reference should be, in seconds.
        queued: the most that waited, in seconds.
        correction: of the rate, on average, in parts per million.
    """

    ppm: float
    off: float
    queued: float
    correction: float


def simulate(ppm: float, seconds: float = 3600.0, *, rate: int = RATE, lost: float = 0.0) -> Drift:
    """Plays a saw tooth, whose every sample tells its own position, and looks what comes out.

    Args:
        ppm: how much faster the speaker's clock runs than the microphone's.
        seconds: of the microphone's clock.
        rate: of the speaker, in Hz.
        lost: seconds of the microphone that are lost after a third of the time.
    """
    dice = np.random.default_rng(0)
    reference = Reference(rate, room=2.0)
    speed = rate * (1 + 1e-6 * ppm)
    block = round(BLOCK * RATE)
    played, off, queued, gone = 0, 0.0, 0.0, 0.0
    corrections = []
    for index in range(int(seconds / BLOCK)):
        if lost and not gone and index * BLOCK > seconds / 3:
            gone = lost
        now = (index + 1) * BLOCK + gone
        # The speaker has taken 100 ms more than it has played.
        given = int((now + 0.1) * speed)
        reference.played.write(((np.arange(played, given) % _PERIOD) / _PERIOD).astype(np.float32))
        played = given
        tremble = dice.normal(0, TREMBLE, 2)
        begin = Stamp(0, now - BLOCK + tremble[0])
        got = reference.take(block, begin, Stamp(played, played / speed + tremble[1]))
        queued = max(queued, reference.played.queued / rate)
        since = now - BLOCK - (seconds / 3 if gone else 0)
        wanted = (now - BLOCK + LEAD) * speed + np.arange(block) * speed / RATE
        wanted %= _PERIOD
        clear = (wanted > 0.1 * _PERIOD) & (wanted < 0.9 * _PERIOD)  # of the tooth's edge
        if since <= SETTLED:
            continue
        corrections.append(1e6 * reference.correction)
        if clear.any():
            off = max(off, float(np.abs(got * _PERIOD - wanted)[clear].max()) / rate)
    return Drift(ppm, off, queued, float(np.mean(corrections)))
