"""What counts as the same words, and what counts as an answer."""

import pytest

from evals.text import character_error_rate, contains, normalise, word_error_rate


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "what is the capital of france"),
        ("Twenty-four", "24"),
        ("two hundred and forty-eight", "248"),
        ("nineteen eighty nine", "1989"),
        ("What's that?", "what is that"),
        ("São Paulo", "sao paulo"),
        ("a 12-ounce latte", "a twelve ounce latte"),
        ("a 12 oz latte", "a twelve ounce latte"),
        ("the first", "the 1st"),
        ("colour", "color"),
    ],
)
def test_spelling_does_not_matter(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("The capital is Paris.", "Paris", True),
        ("It has 4 legs.", "Four", True),
        ("It has twenty-four legs.", "Four", False),
        ("The symbol for carbon is C.", "C", True),
        ("The symbol for calcium is Ca.", "C", False),
        ("Dolphins do that.", "Dolphin", True),
        ("Leonardo did it, not Vincent.", "Leonardo da Vinci", False),
        ("They need light.", "water|light", True),
        ("They need lightning.", "water|light", False),
        ("", "Paris", False),
        ("Paris", "", False),
    ],
)
def test_an_answer_counts_as_whole_words(text: str, answer: str, right: bool) -> None:
    assert contains(text, answer) is right


def test_error_rates_are_over_all_words_not_over_texts() -> None:
    references = ["one two three four five six seven eight", "yes"]
    hypotheses = ["one two three four five six seven eight", "no"]
    assert word_error_rate(references, hypotheses) == pytest.approx(1 / normalise_count(references))
    assert word_error_rate(["A B"], [""]) == 1.0
    assert character_error_rate(["abcd"], ["abce"]) == 0.25


def normalise_count(texts: list[str]) -> int:
    return sum(len(normalise(text).split()) for text in texts)
