"""Traces: what the dialogue was told and what it decided, to be looked at and decided again.

A trace holds no sound and no words, only voice activity, probabilities, positions and decisions:
a line of JSON with the rules, then one for each event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter

from edge_omni.dialogue import RATE, Action, Audio, Dialogue, Event, Floor, Rules
from edge_omni.errors import UsageError

_EVENTS = {kind.__name__: TypeAdapter(kind) for kind in get_args(Event)}
_ACTIONS = {kind.__name__: TypeAdapter(kind) for kind in get_args(Action)}
_RULES = TypeAdapter(Rules)


class Recorder:
    """Writes a trace; a context manager. ``recorder(event, actions)`` adds a line.

    Args:
        path: of the trace; what is there is written over.
        rules: of the dialogue that is recorded.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path, rules: Rules) -> None:
        try:
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise UsageError(f"Cannot write the trace {path}: {error.strerror}.") from error
        self._write(rules=asdict(rules))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __call__(self, event: Event, actions: list[Action]) -> None:
        self._write(event=_named(event), actions=[_named(action) for action in actions])

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


@dataclass(frozen=True)
class Step:
    """One event of a trace, replayed.

    Attributes:
        seconds: on the microphone's clock.
        recorded: what was decided then.
        decided: what the dialogue decides now.
        floor: who has the floor after it.
    """

    seconds: float
    event: Event
    recorded: list[Action]
    decided: list[Action]
    floor: Floor


def replay(path: Path) -> Iterator[Step]:
    """Run the dialogue over a trace.

    Raises:
        UsageError: the file is missing or no trace.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the trace {path}: {error}.") from error
    number, samples = 1, 0
    try:
        dialogue = Dialogue(_RULES.validate_python(json.loads(lines[0])["rules"]))
        for line in lines[1:]:
            number += 1
            item = json.loads(line)
            event = _one(_EVENTS, item["event"])
            recorded = [_one(_ACTIONS, action) for action in item["actions"]]
            if isinstance(event, Audio):
                samples += event.samples
            decided = dialogue.handle(event)
            yield Step(samples / RATE, event, recorded, decided, dialogue.floor)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(
            f"{path} is no trace of edge-omni: line {number} makes no sense."
        ) from error


Kind = TypeVar("Kind")


def _named(item: Event | Action) -> dict[str, Any]:
    return {type(item).__name__: asdict(item)}


def _one(kinds: dict[str, TypeAdapter[Kind]], item: dict[str, Any]) -> Kind:
    ((name, fields),) = item.items()
    return kinds[name].validate_python(fields)
