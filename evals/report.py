"""Figures to people (a table) and to programs (JSON)."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_omni.errors import UsageError
from evals.rates import Interval

Item = TypeVar("Item")
console = Console()
NOTHING = "–"  # noqa: RUF001 (a dash in a table)


def progress(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The items, with a progress bar that goes away at the end."""
    return track(items, description=what, console=console, transient=True)


def check(json_path: Path | None) -> None:
    """Says before an hour of measuring that its result could not be written."""
    if json_path is not None and not json_path.resolve().parent.is_dir():
        raise UsageError(f"Cannot write {json_path}: there is no folder {json_path.parent}.")


def show(title: str, rows: Mapping[str, str]) -> None:
    """A table of two columns."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def save(json_path: Path | None, figures: Mapping[str, Any]) -> None:
    """Writes the figures, if they were asked for."""
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", "utf-8")


def percent(share: float | Interval, digits: int = 1) -> str:
    """A share in percent, with its interval if it has one."""
    return number(share, digits, 100, " %")


def number(
    value: float | Interval,
    digits: int = 2,
    scale: float = 1,
    unit: str = "",
    *,
    signed: bool = False,
) -> str:
    """A number, with its interval if it has one; a dash where nothing was measured."""
    sign = "+" if signed else ""
    if isinstance(value, Interval):
        text = number(value.value, digits, scale, unit, signed=signed)
        if text == NOTHING:
            return text
        low, high = (f"{scale * end:{sign}.{digits}f}" for end in (value.low, value.high))
        return f"{text} ({low} to {high})"
    return NOTHING if math.isnan(value) else f"{scale * value:{sign}.{digits}f}{unit}"


def comparison(title: str, *systems: str) -> Table:
    """A table with a column for each system and one for their ratio."""
    table = Table(title=title, title_justify="left")
    table.add_column()
    for name in (*systems, "ratio"):
        table.add_column(name, justify="right")
    return table
