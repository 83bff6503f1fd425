"""The terminal view: who has the floor, how loud both sides are, what has been heard."""

from __future__ import annotations

import io

from rich.console import Console

from edge_omni.assistant import Turn
from edge_omni.dialogue import Floor
from edge_omni.view import TerminalView


def shown(view: TerminalView) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(view._live.renderable)
    return console.file.getvalue()


def test_both_meters_move_while_the_assistant_speaks() -> None:
    view = TerminalView(Console(file=io.StringIO(), force_terminal=True))
    view.floor(Floor.USER)
    view.level(0.2)
    assert shown(view).count("▇") == 1
    view.floor(Floor.ASSISTANT)
    view.speaking(0.1)
    view.answer("Paris is in France.")
    view.heard(5)
    text = shown(view)
    assert "▇" in text
    assert "▃" in text
    assert "Paris is in France." in text


def test_the_speakers_meter_rests_with_the_floor() -> None:
    view = TerminalView(Console(file=io.StringIO(), force_terminal=True))
    view.floor(Floor.ASSISTANT)
    view.speaking(0.1)
    view.floor(Floor.USER)
    assert "▃" not in shown(view)


def test_an_answer_that_goes_on_has_no_question_of_its_own() -> None:
    file = io.StringIO()
    view = TerminalView(Console(file=file, width=100), plain=True)
    turn = Turn(text="is in France.", continued=True)
    turn.timeline.decide(0.0)
    turn.timeline.mark("first_pcm")
    view.turn(turn)
    assert file.getvalue() == "Assistant  … is in France.\n"
