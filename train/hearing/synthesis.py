"""Short spoken questions and requests by voices that install from packages.

They stand beside recordings of people, which matter more: synthetic voices only bring wording that
an assistant hears and recordings of read books lack. Texts come from templates filled with nouns
and names of WordNet, from its example sentences and from Debian's fortunes.

    python -m train.hearing.synthesis OUT --count 1500
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from piper import PiperVoice, SynthesisConfig
from tqdm import tqdm

from train.speech.synthesize import VOICE
from train.speech.texts import WORDNET, names

RATE = 16_000
FORTUNES = Path("/usr/share/games/fortunes")
FLITE_VOICES = ("awb", "rms", "slt", "kal16")
FESTIVAL_VOICES = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
ESPEAK_VOICES = (
    "en-us", "en-gb", "en-us+f2", "en-us+f4", "en-gb+f3", "en-us+f5", "en-gb-x-rp+m3", "en-029",
    "en-gb-scotland",
)  # fmt: skip
HOURS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve")
TEMPLATES = (
    "What is {a} {n}?",
    "Can you explain what {a} {n} is?",
    "Tell me something about {n}s.",
    "What's the difference between {a} {n} and {a2} {m}?",
    "How do I look after {a} {n}?",
    "How much does {a} {n} usually weigh?",
    "Where would I find {a} {n}?",
    "Who invented the {n}?",
    "Remind me to bring the {n} at {h} o'clock.",
    "Set a timer for {h} minutes.",
    "Wake me up at {h} thirty tomorrow.",
    "Turn on the light near the {n}, please.",
    "Could you tell me a short story about {a} {n}?",
    "Which is bigger, {a} {n} or {a2} {m}?",
    "Please put {a} {n} on my shopping list.",
    "Why do people like {n}s?",
    "Is {a} {n} the same as {a2} {m}?",
    "No, wait, I meant the {m}.",
    "When was the first {n} made?",
    "Spell the word {n}.",
    "What do you call someone who works with {n}s?",
    "Stop, that's enough about {n}s.",
    "Okay, and what about {a} {m}?",
    "Where exactly is {place}?",
    "What is {place} known for?",
    "Tell me about the history of {place}.",
    "How far is it from {place} to {place2}?",
    "Who was {person}, and what are they remembered for?",
    "Did {person} ever live in {place}?",
    "Play something by {person}.",
    "Call {person} and say that I will be {h} minutes late.",
)


def sentences(count: int, seed: int) -> list[str]:
    """Texts to speak, the same for the same seed."""
    dice = random.Random(seed)
    nouns, examples, fortunes = _nouns(), _examples(), _fortunes()
    people, places, _ = names()
    texts = []
    for _ in range(count):
        kind = dice.random()
        if kind < 0.5:
            n, m = dice.choice(nouns), dice.choice(nouns)
            filling = {"n": n, "m": m, "a": _article(n), "a2": _article(m)}
            filling |= {"h": dice.choice(HOURS), "person": dice.choice(people)}
            filling |= {"place": dice.choice(places), "place2": dice.choice(places)}
            texts.append(dice.choice(TEMPLATES).format(**filling))
        elif kind < 0.75 or not fortunes:
            texts.append(dice.choice(examples))
        else:
            texts.append(dice.choice(fortunes))
    return texts


class Voices:
    """Every voice there is, loaded once where that takes long."""

    def __init__(self) -> None:
        self._piper = PiperVoice.load(VOICE)

    def own(self, text: str) -> NDArray[np.float32]:
        """``text`` in the voice that the assistant learnt its own from: float32 at 16 kHz."""
        sounds = list(self._piper.synthesize(text))
        pcm = np.concatenate([sound.audio_float_array for sound in sounds])
        return np.asarray(soxr.resample(pcm, sounds[0].sample_rate, RATE), dtype=np.float32)

    def speak(self, text: str, dice: random.Random) -> NDArray[np.float32]:
        """``text`` by a voice drawn at random, at a drawn speed and pitch: float32 at 16 kHz."""
        kind = dice.random()
        # Read at another rate, speed and pitch shift together: one voice becomes several speakers.
        # Most of them are men: who is to have a high voice must speak more slowly before.
        high = dice.random() < 0.4
        shift = dice.uniform(1.12, 1.32) if high else dice.uniform(0.88, 1.14)
        slower = shift if high else 1.0
        if kind < 0.35:
            options = SynthesisConfig(
                length_scale=slower * dice.uniform(0.85, 1.25),
                noise_scale=dice.uniform(0.4, 1.0),
                noise_w_scale=dice.uniform(0.5, 1.2),
            )
            sounds = list(self._piper.synthesize(text, options))
            pcm = np.concatenate([sound.audio_float_array for sound in sounds])
            rate = sounds[0].sample_rate
        else:
            try:
                pcm, rate = _command(text, dice, kind, slower)
            except subprocess.CalledProcessError:  # festival crashes at some short texts
                return self.speak(text, dice)
        return np.asarray(soxr.resample(pcm, rate * shift, RATE), dtype=np.float32)


def _command(
    text: str, dice: random.Random, kind: float, slower: float
) -> tuple[NDArray[np.float32], int]:
    """``text`` by a voice that is a program: samples and their rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        if kind < 0.65:
            stretch = f"duration_stretch={slower * dice.uniform(0.85, 1.3):.2f}"
            voice = dice.choice(FLITE_VOICES)
            _run(["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(path)], "")
        elif kind < 0.8:
            voice = f"(voice_{dice.choice(FESTIVAL_VOICES)})"
            stretch = f"(Parameter.set 'Duration_Stretch {slower:.2f})"
            _run(["text2wave", "-eval", f"(begin {voice} {stretch})", "-o", str(path)], text)
        else:
            voice, speed = dice.choice(ESPEAK_VOICES), str(round(dice.randint(130, 185) / slower))
            _run(["espeak-ng", "-v", voice, "-s", speed, "-w", str(path), text], "")
        pcm, rate = soundfile.read(path, dtype="float32")
    return pcm, rate


def _run(command: list[str], text: str) -> None:
    subprocess.run(command, input=text.encode(), check=True, capture_output=True)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _nouns() -> list[str]:
    """Nouns with at least a few recorded uses (``cntlist.rev`` counts them)."""
    found = set()
    for line in (WORDNET / "cntlist.rev").read_text("ascii").splitlines():
        sense, _, count = line.split()
        word, _, kind = sense.partition("%")
        if kind.startswith("1:") and int(count) >= 2 and re.fullmatch("[a-z]{3,12}", word):
            found.add(word)
    return sorted(found)


def _examples() -> list[str]:
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        text = (WORDNET / f"data.{part}").read_text("ascii", errors="ignore")
        found += re.findall(r'"([A-Za-z][a-z ,\']{18,90})"', text)
    return sorted(set(found))


def _fortunes() -> list[str]:
    found = []
    for path in sorted(FORTUNES.glob("*")):
        if path.suffix == "" and path.name not in ("ascii-art", "translate-me"):
            for text in path.read_text("utf-8", errors="ignore").split("\n%\n"):
                line = " ".join(text.split())
                if re.fullmatch(r"[A-Z][A-Za-z ,.'!?-]{20,140}[.!?]", line):
                    found.append(line)
    return sorted(set(found))


def main() -> None:
    """Write the recordings and a table of their texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    voices = Voices()
    for i, text in enumerate(tqdm(sentences(options.count, options.seed), mininterval=5)):
        path = options.out / f"{i:05d}.flac"
        if not path.exists():
            pcm = voices.speak(text, random.Random(options.seed * 100_003 + i))
            soundfile.write(path, pcm, RATE)


if __name__ == "__main__":
    main()
