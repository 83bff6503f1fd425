"""The microphone without the speaker's echo: WebRTC's audio processing (AEC3, NS, AGC2)."""

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

RATE = 16_000
FRAME = 160  # samples: 10 ms, WebRTC's frame


class FrontEnd:
    """Echo cancellation, noise suppression and gain for a 16 kHz stream, each switchable.

    What comes out is 8 ms behind what went in. The echo is found if it comes 20 to 500 ms after
    its reference (`edge-omni eval echo` shows where that ends). For one thread.

    Args:
        echo: cancel what the speaker plays; a high-pass filter comes with it.
        noise: suppress steady noise, by 12 dB.
        gain: bring quiet speakers up, at most 6 dB per second.
    """

    def __init__(self, *, echo: bool = True, noise: bool = False, gain: bool = False) -> None:
        self._processor = AudioProcessor(
            sample_rate=RATE,
            echo_cancellation=echo,
            noise_suppression=noise,
            auto_gain_control=gain,
        )
        self._rest = np.zeros((2, 0), np.float32)

    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes what the microphone heard and what the speaker played meanwhile, both float32 [n];
        returns all frames that are now whole, float32 [160 k]."""
        both = np.concatenate([self._rest, np.stack([near, far])], axis=1)
        whole = both.shape[1] - both.shape[1] % FRAME
        self._rest = both[:, whole:].copy()
        if not whole:
            return both[0, :0]
        return np.asarray(self._processor.process(both[0, :whole], both[1, :whole]), np.float32)

    def reset(self) -> None:
        """Forgets room, noise and level: another device, or the same one elsewhere."""
        self._processor.reset()
        self._rest = self._rest[:, :0]
