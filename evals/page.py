"""A report as data, and what is made of it: a table in the terminal, Markdown, and an HTML page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Columns have a heading each, which may be empty; numbers are text already.

    Attributes:
        numbers: whether columns but the first hold numbers, which stand to the right.
    """

    title: str
    columns: Row
    rows: Sequence[Row]
    note: str = ""
    numbers: bool = True


@dataclass(frozen=True)
class Plot:
    """A drawing as SVG, and the name of its file."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """Tables and plots that belong together."""

    title: str
    text: str
    tables: Sequence[Table]
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        failures: what could not be measured, and why.
    """

    title: str
    date: str
    sections: Sequence[Section]
    failures: Sequence[tuple[str, str]] = field(default=())


def write(report: Report, folder: Path) -> None:
    """Writes report.md, report.html and the plots."""
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for section in report.sections:
        for plot in section.plots:
            white = plot.svg.replace("<svg ", '<svg style="background: white" ', 1)
            (plots / f"{plot.name}.svg").write_text(white, "utf-8")
    (folder / "report.md").write_text(_render("page.md.j2", report), "utf-8")
    (folder / "report.html").write_text(_render("page.html.j2", report), "utf-8")


def show(report: Report, console: Console) -> None:
    """Prints the tables."""
    for section in report.sections:
        console.rule(section.title, align="left")
        for table in section.tables:
            made = RichTable(title=table.title or None, title_justify="left")
            for i, column in enumerate(table.columns):
                right = i and table.numbers
                made.add_column(
                    escape(column), justify="right" if right else "left", overflow="fold"
                )
            for row in table.rows:
                made.add_row(*map(escape, row))
            console.print(made)


def _render(name: str, report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=lambda template: bool(template and ".html" in template),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    environment.filters["figure"] = _figure
    environment.filters["anchor"] = lambda text: text.lower().replace(" ", "-").replace(",", "")
    return environment.get_template(name).render(report=report)


def _figure(text: str) -> Markup:
    """A number, its unit and its interval, so that a line breaks before the interval only."""
    text = re.sub(r"(?<=\d) (?=%|points|MB)", "\N{NO-BREAK SPACE}", text)
    parts = re.fullmatch(r"(.+?) (\([^()]+ to [^()]+\))", text)
    if parts is None:
        return Markup.escape(text)
    return Markup('{} <span class="range">{}</span>').format(*parts.groups())
