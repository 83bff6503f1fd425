"""Loops and early ends are seen."""

from evals.lengthy import WORDS, measure, texts


def test_the_texts_are_long_and_the_same_each_time() -> None:
    made = texts(3)
    assert made == texts(3)
    assert all(len(text.split()) >= WORDS for text in made)


def test_what_is_heard_as_it_stands_is_neither_early_nor_a_loop() -> None:
    text = texts(1)[0]
    found = measure(text, text)
    assert not found["stops_early"]
    assert not found["loops"]
    assert found["first_half_wer"] == found["second_half_wer"] == 0


def test_half_an_answer_stops_early() -> None:
    text = texts(1)[0]
    assert measure(text, text[: len(text) // 2])["stops_early"]


def test_a_phrase_said_again_is_a_loop() -> None:
    text = texts(1)[0]
    assert measure(text, text + " " + " ".join(text.split()[-7:]))["loops"]
