"""edge-omni as a system under measurement: `python -m evals.ours`, started by evals.bench."""

import time

import numpy as np
from numpy.typing import NDArray

from edge_omni.assistant import Assistant, Turn
from edge_omni.audio.voice_activity import FRAME, VoiceActivity
from edge_omni.llm import Sampling
from evals.system import CORES, RATE, TOKENS, Task, TurnFigures, measure


class EdgeOmni:
    """The default loop, without a device."""

    def __init__(self, task: Task) -> None:
        self._assistant = Assistant(task.bundle, llm=task.llm, threads=CORES)

    def turn(self, name: str, pcm: NDArray[np.float32]) -> TurnFigures:
        """See `System.turn`."""
        self._assistant.reset()
        listening, backlog = self._listen(pcm)
        figures = TurnFigures(name, len(pcm) / RATE, listening, backlog=backlog)
        turn = Turn()
        turn.timeline.decide(0.0)
        begin = time.monotonic()
        self._assistant.finish_turn(turn)
        heard = time.monotonic() - begin
        answer = self._assistant.answer(turn, max_tokens=TOKENS, sampling=Sampling(temperature=0.0))
        samples = 0
        for part in answer:
            if part is not None and len(part):
                turn.timeline.mark("first_pcm")
                samples += len(part)
        figures.speaking = backlog + time.monotonic() - begin
        figures.speech = samples / self._assistant.sample_rate
        marks = {"heard": heard, **turn.timeline.marks}
        del marks["end_of_speech"], marks["decision"]
        figures.steps = {step: backlog + seconds for step, seconds in marks.items()}
        return figures

    def _listen(self, pcm: NDArray[np.float32]) -> tuple[float, float]:
        """Hears the question as a microphone gives it; no frame is there before its time.

        Returns the seconds spent, and those by which listening was behind at the end.
        """
        voice = VoiceActivity()
        spent = clock = 0.0
        for end in range(FRAME, len(pcm) + FRAME, FRAME):
            frame = pcm[end - FRAME : end]
            begin = time.monotonic()
            voice.push(frame)
            self._assistant.conversation.hear(self._assistant.listener.push(frame))
            cost = time.monotonic() - begin
            spent += cost
            clock = max(clock, end / RATE) + cost
        return spent, max(0.0, clock - len(pcm) / RATE)


if __name__ == "__main__":
    measure(EdgeOmni)
