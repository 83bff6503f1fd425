"""Loops and early ends are seen."""

from evals.lengthy import WORDS, halves, measure, texts


def test_the_texts_are_long_and_the_same_each_time() -> None:
    made = texts(3)
    assert made == texts(3)
    assert all(len(text.split()) >= WORDS for text in made)


def test_what_is_heard_as_it_stands_is_neither_early_nor_a_loop() -> None:
    text = texts(1)[0]
    found = measure(text, text)
    assert not found["stops_early"]
    assert not found["loops"]
    assert [half.value for half in halves([{"text": text, "heard": text}])] == [0, 0]


def test_errors_count_for_the_half_that_they_lie_in() -> None:
    text = "a kettle boils faster when it is full"
    first, second = halves([{"text": text, "heard": "a boils faster when is is fall"}])
    assert first.value == 1 / 4
    assert second.value == 2 / 4


def test_half_an_answer_stops_early() -> None:
    text = texts(1)[0]
    assert measure(text, text[: len(text) // 2])["stops_early"]


def test_a_phrase_said_again_is_a_loop() -> None:
    text = texts(1)[0]
    assert measure(text, text + " " + " ".join(text.split()[-7:]))["loops"]
