"""HTML: the table as an element of the report page; every foreign string is escaped by Jinja2."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, Template
from markupsafe import Markup

from reports.render.numbers import DASH, good, interval, number, panel_title, plain, tooltip
from reports.table import Cell, Column, Table

WIDEST = 12  # characters that the style sheet has a class for


def render_html(table: Table) -> str:
    """A `<figure>` with the table, its caption and its footnotes; styled by the page, readable without."""
    return _template().render(table=table, **_helpers(), widths=_remembered(_widths))


@lru_cache(maxsize=1)
def _template() -> Template:
    source = files("reports.html").joinpath("table.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)


def _helpers() -> dict[str, object]:
    return {
        "number": number,
        "interval": interval,
        "good": good,
        "plain": plain,
        "tooltip": tooltip,
        "panel_title": panel_title,
        "DASH": DASH,
        "sort_value": _sort_value,
        "arrow": lambda column: {"higher": "↑", "lower": "↓"}.get(column.better or "", ""),
        "Markup": Markup,
    }


def _widths(table: Table, column: Column) -> tuple[int, int]:
    """Characters of a column's longest number and of its longest spread: what lines its numbers up at the point."""
    cells = [row.cells[column.key] for row in table.rows]
    values = [len(number(column, cell.mean, column.signed)) for cell in cells if cell.mean is not None]
    spreads = [1 + len(number(column, c.spread)) for c in cells if c.spread is not None and column.spread]
    return min(max(values, default=0), WIDEST), min(max(spreads, default=0), WIDEST)


def _remembered(widths: Callable[[Table, Column], tuple[int, int]]) -> Callable[[Table, Column], tuple[int, int]]:
    """The template asks in every cell; a column is looked through once."""
    made: dict[tuple[int, str], tuple[Table, tuple[int, int]]] = {}

    def ask(table: Table, column: Column) -> tuple[int, int]:
        key = (id(table), column.key)
        if key not in made or made[key][0] is not table:
            made[key] = (table, widths(table, column))
        return made[key][1]

    return ask


def _sort_value(column: Column, cell: Cell) -> str:
    """What a header click sorts by: the unrounded number, else the text."""
    if cell.mean is not None:
        return repr(cell.mean)
    if cell.ends is not None:
        return repr(cell.ends[0])
    return "" if cell.absent else plain(cell.text, 80)
