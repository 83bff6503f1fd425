"""The conversation in a terminal: floor, levels, captions, the answer as it is heard, latency."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from edge_omni.assistant import Turn
from edge_omni.dialogue import Floor
from edge_omni.loop import Observer

_METER = " ▁▂▃▄▅▆▇█"
_LOUDEST = 0.25
"""Root mean square of loud speech close to the microphone; the meter is full there."""
_METERS = 12
"""Levels shown, oldest first: the last second or so."""
_COLOURS = {Floor.NOBODY: "dim", Floor.USER: "bold cyan", Floor.ASSISTANT: "bold green"}


class TerminalView(Observer):
    """Shows a conversation. On a terminal the current turn is live, and of the answer what has
    been heard stands out; into a pipe, or if ``plain``, only what is final is written.

    Use it as a context manager.
    """

    def __init__(self, console: Console, *, plain: bool = False) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=12, transient=True)
        self._shown = console.is_terminal and not plain
        self._floor = Floor.NOBODY
        self._caption = self._answer = ""
        self._heard = 0
        self._levels = [0.0] * _METERS
        self._speaking = [0.0] * _METERS

    def __enter__(self) -> TerminalView:
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def floor(self, floor: Floor) -> None:
        self._floor = floor
        self._show()

    def level(self, level: float) -> None:
        self._levels = [*self._levels[1:], level]
        self._show()

    def speaking(self, level: float) -> None:
        self._speaking = [*self._speaking[1:], level]
        self._show()

    def caption(self, text: str) -> None:
        self._caption = text
        self._show()

    def answer(self, text: str) -> None:
        self._answer = text
        self._show()

    def heard(self, characters: int) -> None:
        self._heard = characters
        self._show()

    def device(self, message: str) -> None:
        """A sound device went, came back, or broke off."""
        self._console.print(Text(message, style="yellow"))

    def turn(self, turn: Turn) -> None:
        if not turn.continued:
            self._console.print(_line("You", turn.caption.strip(), Floor.USER))
        text = f"… {turn.text}" if turn.continued else turn.text
        text = f"{text} … (interrupted)" if turn.interrupted else text
        self._console.print(_line("Assistant", text, Floor.ASSISTANT))
        first, felt = turn.timeline.to_first_pcm, turn.timeline.felt
        if first is not None and felt is not None and not turn.continued:
            self._console.print(
                Text(
                    f"           first sound {1000 * first:.0f} ms after the decision to answer, "
                    f"{1000 * felt:.0f} ms after your last word",
                    style="dim",
                )
            )
        self._answer, self._heard = "", 0
        self._speaking = [0.0] * _METERS
        if self._floor is not Floor.USER:
            self._caption = ""
        self._show()

    def _show(self) -> None:
        if not self._shown:
            return
        speaking = self._floor is Floor.ASSISTANT
        lines = [
            Text.assemble(
                (f"{self._floor.value:10} ", _COLOURS[self._floor]),
                _bars(self._levels),
                (f"  {_bars(self._speaking)}" if speaking else "", _COLOURS[Floor.ASSISTANT]),
            )
        ]
        if self._caption:
            lines.append(_line("You", self._caption, Floor.USER))
        if self._answer:
            answer = _line("Assistant", self._answer[: self._heard], Floor.ASSISTANT)
            lines.append(answer.append(self._answer[self._heard :], "dim"))
        self._live.update(Group(*lines))


def _bars(levels: list[float]) -> str:
    most = len(_METER) - 1
    return "".join(_METER[min(int(level / _LOUDEST * (most + 1)), most)] for level in levels)


def _line(who: str, text: str, floor: Floor) -> Text:
    return Text.assemble((f"{who:11}", _COLOURS[floor]), text)
