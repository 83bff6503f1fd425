"""Short spoken questions and requests by voices that install from packages.

They stand beside recordings of people, which matter more: synthetic voices only bring wording that
an assistant hears and recordings of read books lack. Texts come from templates filled with WordNet
nouns, WordNet's example sentences and Debian's fortunes.

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

RATE = 16_000
WORDNET = Path("/usr/share/wordnet")
FORTUNES = Path("/usr/share/games/fortunes")
FLITE_VOICES = ("awb", "rms", "slt", "kal16")
ESPEAK_VOICES = ("en-us", "en-gb", "en-us+f2", "en-gb-x-rp+m3", "en-029", "en-gb-scotland")
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
    "How many {n}s are there in the world?",
    "When was the first {n} made?",
    "Spell the word {n}.",
    "What do you call someone who works with {n}s?",
    "Stop, that's enough about {n}s.",
    "Okay, and what about {a} {m}?",
)


def sentences(count: int, seed: int) -> list[str]:
    """Texts to speak, the same for the same seed."""
    dice = random.Random(seed)
    nouns, examples = _nouns(), _examples()
    fortunes = _fortunes()
    texts = []
    for _ in range(count):
        kind = dice.random()
        if kind < 0.5:
            n, m = dice.choice(nouns), dice.choice(nouns)
            hour = dice.choice(
                ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"]
            )
            texts.append(
                dice.choice(TEMPLATES).format(n=n, m=m, a=_article(n), a2=_article(m), h=hour)
            )
        elif kind < 0.75 or not fortunes:
            texts.append(dice.choice(examples))
        else:
            texts.append(dice.choice(fortunes))
    return texts


def speak(text: str, dice: random.Random, joe: Path | None) -> NDArray[np.float32]:
    """``text`` by a voice drawn at random, at a drawn speed and pitch: float32 at 16 kHz."""
    kind = dice.random()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        if joe is not None and kind < 0.35:
            options = ["--length-scale", f"{dice.uniform(0.85, 1.25):.2f}"]
            _run(["python", "-m", "piper", "-m", str(joe), "-f", str(path), *options], text)
        elif kind < 0.8:
            stretch = f"duration_stretch={dice.uniform(0.85, 1.3):.2f}"
            voice = dice.choice(FLITE_VOICES)
            _run(["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(path)], "")
        else:
            voice, speed = dice.choice(ESPEAK_VOICES), str(dice.randint(130, 185))
            _run(["espeak-ng", "-v", voice, "-s", speed, "-w", str(path), text], "")
        pcm, rate = soundfile.read(path, dtype="float32")
    # Read at another rate, speed and pitch shift together: one voice becomes several speakers.
    return np.asarray(soxr.resample(pcm, rate * dice.uniform(0.88, 1.14), RATE), dtype=np.float32)


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
    parser.add_argument("--joe", type=Path, help="Piper voice, .onnx")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(sentences(options.count, options.seed)):
        path = options.out / f"{i:05d}.flac"
        if not path.exists():
            pcm = speak(text, random.Random(options.seed * 100_003 + i), options.joe)
            soundfile.write(path, pcm, RATE)


if __name__ == "__main__":
    main()
