"""Markdown (GitHub's): one header row, groups folded into the column names, footnotes below."""

from __future__ import annotations

import re

from reports.render.numbers import DASH, interval, number, panel_title, plain
from reports.table import Cell, Column, Table


def escape(text: object, limit: int = 0) -> str:
    """Text that Markdown prints as it is, inside a table cell."""
    line = plain(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", line)


def render_markdown(table: Table) -> str:
    """The table with its caption above and its footnotes below."""
    lines = [f"**{escape(table.title)}**", ""]
    for place, panel in enumerate(table.panels):
        lines += [escape(panel_title(place, panel)), "", *_grid(panel), ""]
    if table.columns:
        lines += [*_grid(table), ""]
    lines.append(
        escape(table.caption).replace("grey row", "row marked default").replace("Grey rows", "Rows in italics")
    )
    lines += [f"<br><sup>{letter}</sup> {escape(text)}" for letter, text in table.notes]
    lines += [f"<br>{escape(line)}" for line in table.footer]
    return "\n".join(lines) + "\n"


def _grid(table: Table) -> list[str]:
    lines = ["| " + " | ".join(_head(column) for column in table.columns) + " |"]
    lines.append("|" + "|".join(":--" if c.kind in ("text", "axis", "word") else "--:" for c in table.columns) + "|")
    for row in table.rows:
        first, *rest = table.columns
        name = _cell(row.cells[first.key], first)
        if row.role == "default" and name != "default":
            name += " (default)"
        if row.role == "cited":
            name = f"*{name}*"
        if row.message:
            cells = [escape(row.message, 200), *[""] * (len(rest) - 1)]
        else:
            cells = [_cell(row.cells[c.key], c) for c in rest]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def _head(column: Column) -> str:
    group = f"{escape(column.group, 60)}: " if column.group and column.kind == "score" else ""
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.better or "", "")
    note = f"<sup>{column.note}</sup>" if column.note else ""
    return group + escape(column.label, 40) + arrow + note


def _cell(cell: Cell, column: Column) -> str:
    notes = f"<sup>{','.join(cell.notes)}</sup>" if cell.notes else ""
    if cell.absent:
        return DASH + notes
    if cell.check is not None:
        return ("✓" if cell.check else "✗") + notes
    if cell.ends is not None:
        return escape(interval(column, *cell.ends)) + notes
    if cell.mean is None:
        return escape(cell.text, 80) + notes
    text = number(column, cell.mean, column.signed)
    text = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.rank, text)
    if cell.spread is not None and column.spread:
        text += f" ± {number(column, cell.spread)}"
    text += notes
    if cell.delta is not None and cell.delta.known:
        change = number(column, cell.delta.estimate, signed=True) + ("\\*" if cell.called else "")
        around = "" if column.compact else f" {escape(interval(column, cell.delta.low, cell.delta.high))}"
        text += f"{' ' if column.compact else '<br>'}{change}{around}"
    if cell.interval is not None and cell.interval.known:
        text += f" {escape(interval(column, cell.interval.low, cell.interval.high))}"
    return text
