"""What the LLM thinks while it says the sentences that the decoder learns from.

No answer is generated. The LLM reads each sentence as its own answer to a request, in its own chat
layout, as :meth:`edge_omni.conversation.Conversation.say` has it read one: many answers side by
side in one batch, so that it costs no more than reading a prompt.

    python -m train.speech.hidden --work DIR --llm FILE.gguf
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_omni.bundle import Bundle
from train.batched import BatchedLLM, batches
from train.speech import aligned

REQUESTS = (
    "Tell me something.",
    "What do you know about it?",
    "Say that again, please.",
    "Go on, I am listening.",
    "Can you give me an example?",
    "What is the answer?",
    "Explain it to me.",
    "Why do you think so?",
)
TOGETHER = 2
"""Sentences of one answer: every other one opens it, and every other one goes on in it."""


def sentences(llm: BatchedLLM, texts: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """Each sentence and the hidden states at its tokens, in order."""
    groups = [texts[i : i + TOGETHER] for i in range(0, len(texts), TOGETHER)]
    answers = [
        [llm.tokenize(" " * (i > 0) + text) for i, text in enumerate(group)] for group in groups
    ]
    dice = random.Random(0)
    for span in batches([sum(map(len, answer)) for answer in answers]):
        together = [[t for part in answer for t in part] for answer in answers[span]]
        found = llm.read(dice.choice(REQUESTS), together)
        for group, answer, states in zip(groups[span], answers[span], found, strict=True):
            ends = np.cumsum([len(part) for part in answer])[:-1]
            yield from zip(group, np.split(states, ends), strict=True)


def save(path: Path, states: Sequence[tuple[str, NDArray[np.float16]]]) -> None:
    """Write one shard."""
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        texts=np.array([text for text, _ in states]),
        counts=np.array([len(hidden) for _, hidden in states]),
        hidden=np.concatenate([hidden for _, hidden in states]),
    )
    partial.rename(path)


def load(folder: Path) -> dict[str, NDArray[np.float16]]:
    """Hidden states of every sentence in the shards of ``folder``: float16 [tokens, width]."""
    found: dict[str, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as shard:
            parts = np.split(shard["hidden"], np.cumsum(shard["counts"])[:-1])
            found.update(zip(map(str, shard["texts"]), parts, strict=True))
    return found


def prepare(
    llm: Path,
    system: str,
    shards: Sequence[Path],
    out: Path,
    threads: int,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Read every sentence of the aligned shards; may be stopped and started again.

    Args:
        shards: files of :mod:`train.speech.aligned`.
        out: gets one file for each of them, which belong to this LLM alone.
        enough: whether to stop before the next file.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [path for path in shards if not (out / path.name).exists()]
    if not missing or enough():
        return
    reader = BatchedLLM(llm, system, threads=threads)
    try:
        for path in tqdm(missing, desc="hidden states", unit="shard"):
            if enough():
                break
            texts = [sentence.text for sentence in aligned.load(path)]
            save(out / path.name, list(sentences(reader, texts)))
    finally:
        reader.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--llm", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder for the shards; WORK/hidden if not given")
    parser.add_argument("--bundle", default="tiny", help="its system prompt is used")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    system = Bundle(args.bundle).manifest.chat.system
    out = args.out or args.work / "hidden"
    prepare(args.llm, system, sorted((args.work / "aligned").glob("*.npz")), out, args.threads)


if __name__ == "__main__":
    main()
