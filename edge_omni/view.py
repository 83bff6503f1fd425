"""The conversation in a terminal, line by line: who has the floor, captions, answers, latency."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.text import Text

from edge_omni.assistant import Turn
from edge_omni.dialogue import Floor
from edge_omni.loop import Observer

_METER = " ▁▂▃▄▅▆▇█"
_LOUDEST = 0.25
"""Root mean square of loud speech close to the microphone; the meter is full there."""


class TerminalView(Observer):
    """Shows a conversation. On a terminal the current line is live; into a pipe only what is
    final is written.

    Use it as a context manager.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._floor = Floor.NOBODY
        self._caption = self._answer = ""
        self._level = 0.0

    def __enter__(self) -> TerminalView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def floor(self, floor: Floor) -> None:
        self._floor = floor
        if floor is Floor.USER:
            self._caption = self._answer = ""
        self._show()

    def level(self, level: float) -> None:
        self._level = level
        self._show()

    def caption(self, text: str) -> None:
        self._caption = text
        self._show()

    def answer(self, text: str) -> None:
        self._answer = text
        self._show()

    def device(self, message: str) -> None:
        """A sound device went, came back, or broke off."""
        self._console.print(Text(message, style="yellow"))

    def turn(self, turn: Turn) -> None:
        self._console.print(Text.assemble(("You        ", "bold cyan"), turn.caption.strip()))
        self._console.print(Text.assemble(("Assistant  ", "bold green"), turn.text))
        first, felt = turn.timeline.to_first_pcm, turn.timeline.felt
        if first is not None and felt is not None:
            self._console.print(
                Text(
                    f"           first sound {1000 * first:.0f} ms after the decision to answer, "
                    f"{1000 * felt:.0f} ms after your last word",
                    style="dim",
                )
            )
        self._caption = self._answer = ""
        self._show()

    def _show(self) -> None:
        if not self._console.is_terminal:
            return
        bar = _METER[min(int(self._level / _LOUDEST * len(_METER)), len(_METER) - 1)]
        words = self._answer if self._floor is Floor.ASSISTANT else self._caption
        line = Text.assemble((f"{self._floor.value:9}", "bold"), f" {bar} ", words.strip())
        self._live.update(line, refresh=True)
