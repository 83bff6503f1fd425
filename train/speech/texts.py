"""Sentences to learn speaking from: dictionary sentences with a wide vocabulary, and templates.

The third source, the LLM's own answers, is `train.speech.answers`.

    python -m train.speech.texts --work DIR
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path

from edge_omni.numbers import cardinal, year

WORDNET = Path("/usr/share/wordnet")
"""Debian's wordnet-base (WordNet 3.0 licence: free for any use)."""
SPOKEN = re.compile(r"[A-Za-z' ,.?!;:-]+")
MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def dictionary() -> Iterator[str]:
    """Definitions and examples of WordNet as spoken sentences."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text("latin-1").splitlines():
            if line.startswith(" "):
                continue
            data, _, gloss = line.partition(" | ")
            lemma = re.sub(r"\(.*\)", "", data.split()[4]).replace("_", " ")
            yield from _sentences(part, lemma, gloss)


def _sentences(part: str, lemma: str, gloss: str) -> Iterator[str]:
    for example in re.findall(r'"([^"]+)"', gloss):
        text = example.strip()
        if len(text.split()) >= 4:
            yield _finished(text)
    definition = re.sub(r'"[^"]*"?', "", gloss)
    definition = re.sub(r"\([^)]*\)", "", definition).split(";")[0]
    definition = re.sub(r"\s+", " ", definition).strip(" ,:")
    if len(definition.split()) < 3:
        return
    pattern = {
        "noun": "{} is {}",
        "verb": "to {} means to {}",
        "adj": "{} means {}",
        "adv": "{} means {}",
    }[part]
    yield _finished(pattern.format(lemma, definition))


def _finished(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    text = text[0].upper() + text[1:] if text else text
    return text if text.endswith((".", "?", "!")) else text + "."


TEMPLATES = (
    "{name} was born on {month} the {ordinal}, {year}.",
    "The city of {place} has about {number} people.",
    "It is {hour} {minute} in {place} right now.",
    "Sure, I can set a timer for {small} minutes.",
    "I think the answer is {number}, but let me check.",
    "{name} and {name} moved from {place} to {place} in {year}.",
    "On {day}, it will be {small} degrees and {weather} in {place}.",
    "That is a great question about {thing}, {name}.",
    "You could try {thing}, {thing}, or even {thing}.",
    "Yes, {place} is a wonderful place to see {thing}.",
    "No, {name} did not write about {thing}.",
    "First, take {small} grams of {thing}; then, add the {thing}.",
    "The capital is {place}.",
    "Would you like to know more about {thing}?",
    "In {year}, {name} discovered {thing} near {place}.",
    "{number} divided by {small} is roughly {number}.",
    "It was written by {name} {name}.",
    "Oh, that's easy: it's {thing}!",
    "{thing}, {thing} and {thing}.",
    "{name}.",
    "{place}, in {year}.",
    "The largest of them is {place}, which covers {number} square miles.",
    "Well, {name} won {small} medals for {thing}.",
    "I'm sorry, I don't know anything about {thing}.",
)
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
WEATHER = "sunny cloudy rainy windy foggy snowy dry humid stormy clear".split()


def names() -> tuple[list[str], list[str], list[str]]:
    """Names of people, places, and things, from WordNet's nouns by their lexicographer file."""
    people, places, things = [], [], []
    for line in (WORDNET / "data.noun").read_text("latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        words = fields[4].split("_")
        if not all(word.isalpha() for word in words):
            continue
        if words[0][0].isupper():
            if fields[1] == "18":
                people.append(words[-1])
            elif fields[1] == "15":
                places.append(" ".join(words))
        elif fields[1] in {"05", "06", "13", "20", "27", "17"}:
            things.append(" ".join(words))
    return sorted(set(people)), sorted(set(places)), sorted(set(things))


def templates(count: int, seed: int) -> Iterator[str]:
    """``count`` sentences with names, places, things, numbers and dates in words."""
    rng = random.Random(seed)
    people, places, things = names()
    fill = {
        "name": lambda: rng.choice(people),
        "place": lambda: rng.choice(places),
        "thing": lambda: rng.choice(things),
        "month": lambda: rng.choice(MONTHS),
        "day": lambda: rng.choice(DAYS),
        "weather": lambda: rng.choice(WEATHER),
        "ordinal": lambda: rng.choice(ORDINALS),
        "hour": lambda: cardinal(rng.randint(1, 12)),
        "minute": lambda: cardinal(rng.randint(10, 59)),
        "small": lambda: cardinal(rng.randint(2, 99)),
        "number": lambda: cardinal(int(10 ** rng.uniform(1, 5.9))),
        "year": lambda: year(rng.randint(1100, 2029)),
    }
    for _ in range(count):
        text = re.sub(r"\{(\w+)\}", lambda match: fill[match[1]](), rng.choice(TEMPLATES))
        yield text[0].upper() + text[1:]


def speakable(text: str) -> bool:
    """Whether the sentence has only letters and marks that are said or shape the melody."""
    return bool(SPOKEN.fullmatch(text)) and 3 <= len(text) <= 180


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--templates", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    folder = args.work / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    sentences = sorted({text for text in dictionary() if speakable(text)})
    random.Random(args.seed).shuffle(sentences)
    (folder / "dictionary.txt").write_text("\n".join(sentences) + "\n")
    made = [text for text in templates(args.templates, args.seed) if speakable(text)]
    (folder / "templates.txt").write_text("\n".join(made) + "\n")
    print(f"{len(sentences)} dictionary sentences, {len(made)} from templates in {folder}")


if __name__ == "__main__":
    main()
