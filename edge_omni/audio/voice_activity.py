"""Is anybody speaking? A light first gate (WebRTC's) in front of everything else."""

import numpy as np
import webrtcvad
from numpy.typing import NDArray

RATE = 16_000
FRAME = 320  # samples: 20 ms, one of the three lengths that webrtcvad takes
# WebRTC's detector adapts to the level and may call quiet hiss speech when it starts in digital
# silence. Speech at a microphone is above -50 dBFS; 16-bit noise is near -90.
FLOOR_DBFS = -60.0


class VoiceActivity:
    """Speech or not, for each 20 ms of a 16 kHz stream.

    `aggressiveness` 0 to 3: how much it takes to be called speech.
    """

    def __init__(self, aggressiveness: int = 2) -> None:
        self._aggressiveness = aggressiveness
        self._floor = 10.0 ** (FLOOR_DBFS / 20.0)
        self.reset()

    def reset(self) -> None:
        """Forgets the level it had adapted to and the samples of an unfinished frame."""
        self._detector = webrtcvad.Vad(self._aggressiveness)
        self._rest = np.zeros(0, dtype=np.float32)

    def push(self, pcm: NDArray[np.float32]) -> list[bool]:
        """Takes float32 [n] at 16 kHz; returns one answer for each frame that is now whole."""
        pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) - len(pcm) % FRAME
        self._rest = pcm[whole:]
        return [self._is_speech(frame) for frame in pcm[:whole].reshape(-1, FRAME)]

    def _is_speech(self, frame: NDArray[np.float32]) -> bool:
        samples = (np.clip(frame, -1.0, 1.0) * 32767.0).astype("<i2")
        # The detector hears every frame, also those below the floor: it keeps its own levels.
        speech = bool(self._detector.is_speech(samples.tobytes(), RATE))
        return speech and float(np.sqrt(np.mean(np.square(frame)))) > self._floor
