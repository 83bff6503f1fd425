"""Being asked to stop without dying of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Collects the signals that ask to stop (Ctrl-C, and what machines send), so that whoever looks
    at them now and then leaves no step half done."""
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        asked.append(number)
        print("\nstopping after this step", flush=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
