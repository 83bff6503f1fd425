"""The part of an echo that an adaptive filter predicts: Speex's MDF canceller, from libspeexdsp.

J.-M. Valin, On adjusting the learning rate in frequency domain echo cancellation with double-talk
(2007). It only subtracts, so that the user's voice stays as it is while both speak.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from edge_omni.errors import DeviceError

RATE = 16_000
FRAME = 160  # samples
TAIL = 0.2  # seconds of echo that are predicted, from the moment of the reference on
_SET_SAMPLING_RATE = 24  # SPEEX_ECHO_SET_SAMPLING_RATE, of speex_echo.h
_FULL_SCALE = 32767.0


class AdaptiveFilter:
    """Subtracts from a 16 kHz stream what its reference predicts, frame by frame of 10 ms.

    Raises:
        DeviceError: libspeexdsp is not installed.
    """

    def __init__(self) -> None:
        self._library = _library()
        self._state = ctypes.c_void_p(
            self._library.speex_echo_state_init(FRAME, round(TAIL * RATE))
        )
        rate = ctypes.c_int(RATE)
        self._library.speex_echo_ctl(self._state, _SET_SAMPLING_RATE, ctypes.byref(rate))
        self._near, self._far, self._left = np.zeros((3, FRAME), np.int16)
        self._buffers = [
            array.ctypes.data_as(ctypes.c_void_p) for array in (self._near, self._far, self._left)
        ]

    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> None:
        """Changes `near`, float32 [160 k], in place; `far` is as long."""
        for start in range(0, len(near), FRAME):
            frame = slice(start, start + FRAME)
            _round(near[frame], self._near)
            _round(far[frame], self._far)
            self._library.speex_echo_cancellation(self._state, *self._buffers)
            np.divide(self._left, _FULL_SCALE, out=near[frame])

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.speex_echo_state_destroy(self._state)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libspeexdsp.so.1")
    except OSError as error:
        raise DeviceError(
            "libspeexdsp is missing, which cancels the speaker's echo. Install it: "
            "apt install libspeexdsp1 (or wear headphones: --no-echo-cancellation)."
        ) from error
    library.speex_echo_state_init.restype = ctypes.c_void_p
    return library


def _round(pcm: NDArray[np.float32], into: NDArray[np.int16]) -> None:
    np.copyto(into, np.clip(pcm, -1.0, 1.0) * _FULL_SCALE, casting="unsafe")
