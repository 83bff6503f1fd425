"""The frozen LLM's own spoken answers: sentences to learn from.

Many answers are generated side by side in one batch, which costs one core less than one answer
after another would.

    python -m train.speech.answers --work DIR --llm FILE.gguf --batches 60
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from train.batched import BatchedLLM, batches
from train.speech import texts

SYSTEM = "You are a voice assistant. Answer in one or two short, plain, spoken sentences."
QUESTIONS = (
    "What is {thing}?",
    "Tell me something about {place}.",
    "Who was {name}?",
    "How do I learn about {thing}?",
    "Why do people like {thing}?",
    "What should I know before I go to {place}?",
    "Can you explain {thing} to a child?",
    "What is the difference between {thing} and {thing}?",
    "I feel a bit tired today. What can I do?",
    "Give me an idea for dinner with {thing}.",
    "Tell me a short story about {name} and a {thing}.",
    "What do you think of {thing}?",
    "How would you describe {place} to a friend?",
    "Is {thing} expensive?",
    "What is your advice on {thing}?",
)


class Sampler:
    """The next token: one of the 30 likeliest, at temperature 0.8."""

    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)

    def __call__(self, logits: NDArray[np.float32]) -> int:
        """See :meth:`train.batched.BatchedLLM.write`."""
        top = np.argpartition(logits, -30)[-30:]
        odds = np.exp((logits[top] - logits[top].max()) / 0.8)
        return int(self._dice.choice(top, p=odds / odds.sum()))


def answers(llm: BatchedLLM, asked: list[str], limit: int, seed: int) -> list[str]:
    """The LLM's answer to each question, of at most so many tokens."""
    tokens, sampler = [llm.tokenize(question) for question in asked], Sampler(seed)
    spans = batches([len(question) + len(llm.header) for question in tokens])
    written = [answer for span in spans for answer in llm.write(tokens[span], limit, sampler)]
    return [b"".join(map(llm.piece, answer)).decode("utf-8", "replace") for answer in written]


def sentences(answer: str) -> list[str]:
    """The whole sentences of an answer that can be read as they stand."""
    found = (match.strip() for match in re.findall(r"[^.!?\n]+[.!?]+(?=\s|$)", answer))
    return [text for text in found if texts.speakable(text) and len(text.split()) > 1]


def questions(count: int, rng: random.Random) -> list[str]:
    """Questions of many topics."""
    people, places, things = texts.names()
    pick = {"name": people, "place": places, "thing": things}
    return [
        re.sub(r"\{(\w+)\}", lambda match: rng.choice(pick[match[1]]), rng.choice(QUESTIONS))
        for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--llm", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--limit", type=int, default=70)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    folder = args.work / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    llm = BatchedLLM(args.llm, SYSTEM, context=4096, threads=args.threads)
    paths = [folder / f"{number:04d}.txt" for number in range(args.batches)]
    for number, path in enumerate(tqdm(paths, desc="answers", unit="batch")):
        if path.exists():
            continue
        asked = questions(args.width, random.Random(number))
        written = answers(llm, asked, args.limit, number)
        partial = path.with_suffix(".part")
        partial.write_text("\n".join(text for answer in written for text in sentences(answer)))
        partial.rename(path)
    made = dict.fromkeys(text for path in paths for text in path.read_text().splitlines())
    (args.work / "texts" / "answers.txt").write_text("\n".join(made) + "\n")


if __name__ == "__main__":
    main()
