"""The microphone without the speaker's echo, in two ways for two uses.

WebRTC's audio processing (AEC3, NS, AGC2) leaves next to nothing of the echo, and little of the
user while both speak: good for deciding whether anybody speaks. An adaptive filter only subtracts
what it can predict; some echo stays, but the user's voice is whole: good for understanding it.
`edge-omni eval echo` measures both.
"""

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

from edge_omni.audio.adaptive import AdaptiveFilter

RATE = 16_000
FRAME = 160  # samples: 10 ms, WebRTC's frame
LATENCY = 128  # samples that WebRTC's canceller is late by


class FrontEnd:
    """Echo cancellation, noise suppression and gain for a 16 kHz stream, each switchable.

    What comes out is 8 ms behind what went in. The echo is found if it comes 20 to 500 ms after
    its reference; the adaptive filter reaches 200 ms. For one thread.

    Args:
        echo: cancel what the speaker plays; a high-pass filter comes with it.
        noise: suppress steady noise, by 12 dB.
        gain: bring quiet speakers up, at most 6 dB per second.

    Attributes:
        linear: float32 [n], the samples that `process` returned last, with only the predictable
            echo subtracted and nothing else done to them; without ``echo`` the same samples.

    Raises:
        DeviceError: libspeexdsp, which has the adaptive filter, is not installed.
    """

    linear: NDArray[np.float32]
    _rest: NDArray[np.float32]
    _late: NDArray[np.float32]

    def __init__(self, *, echo: bool = True, noise: bool = False, gain: bool = False) -> None:
        self._processor = AudioProcessor(
            sample_rate=RATE,
            echo_cancellation=echo,
            noise_suppression=noise,
            auto_gain_control=gain,
        )
        self._echo = echo
        self.reset()

    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes what the microphone heard and what the speaker played meanwhile, both float32 [n];
        returns all frames that are now whole, float32 [160 k]."""
        both = np.concatenate([self._rest, np.stack([near, far])], axis=1)
        whole = both.shape[1] - both.shape[1] % FRAME
        self._rest = both[:, whole:].copy()
        if not whole:
            self.linear = both[0, :0]
            return self.linear
        clean = np.asarray(self._processor.process(both[0, :whole], both[1, :whole]), np.float32)
        self.linear = clean
        if self._filter is not None:
            self._filter.process(both[0, :whole], both[1, :whole])
            late = np.concatenate([self._late, both[0, :whole]])
            self.linear, self._late = late[:whole], late[whole:]
        return clean

    def reset(self) -> None:
        """Forgets room, noise and level: another device, or the same one elsewhere."""
        self._processor.reset()
        self._filter = AdaptiveFilter() if self._echo else None
        self._rest = np.zeros((2, 0), np.float32)
        self._late = np.zeros(LATENCY, np.float32)
        self.linear = np.zeros(0, np.float32)
