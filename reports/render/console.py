"""Console text: the table in plain characters, narrow enough for a terminal."""

from __future__ import annotations

from dataclasses import replace

from reports.render.numbers import DASH, interval, number, panel_title, plain
from reports.table import Column, Row, Table

NARROW = 24


def render_console(table: Table, width: int = 118) -> str:
    """The table in at most `width` columns: axes are left out (an arm's name says them), then cost columns.

    `*` marks a difference that is significant after correction; `best` values carry no mark here.
    """
    if table.panels:
        parts = [render_console(replace(p, title=panel_title(i, p)), width) for i, p in enumerate(table.panels)]
        notes = [f"{letter}) {plain(text)}" for letter, text in table.notes]
        return "\n".join([plain(table.title), *parts, *notes]).rstrip() + "\n"
    columns = [c for c in table.columns if c.kind != "axis"]
    droppable = [c for c in columns if c.kind == "cost" and c.key not in ("cost.tokens", "cost.flops")]
    droppable += [c for c in columns if c.key.startswith("equal_flops")] + [c for c in columns if c.kind == "cost"]
    grid = _grid(table, columns)
    while _total(grid) > width and droppable:
        gone = droppable.pop(0)
        if gone in columns:
            columns = [c for c in columns if c is not gone]
            grid = _grid(table, columns)
    if _total(grid) > width:
        grid = _grid(table, columns, spread=False)
    while _total(grid) > width and len(columns) > 2:
        columns = columns[:-1]
        grid = _grid(table, columns, spread=False)
    return _draw(table, columns, grid)


def _grid(table: Table, columns: list[Column], spread: bool = True) -> list[list[str]]:
    rows = [[c.group if c.kind == "score" else "" for c in columns], [_head(c) for c in columns]]
    for row in table.rows:
        first, *rest = [_cell(row, c, spread) for c in columns]
        rows.append([first, *([""] * len(rest) if row.message else rest)])
    return rows


def _total(grid: list[list[str]]) -> int:
    return sum(max(len(row[i]) for row in grid[1:]) + 2 for i in range(len(grid[0])))


def _draw(table: Table, columns: list[Column], grid: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in grid[1:]) for i in range(len(columns))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [plain(table.title), rule]
    groups = Table("", "", "", tuple(columns), ()).groups()
    at, heads = 0, []
    for group, members in groups:
        span = sum(widths[at : at + len(members)]) + 2 * (len(members) - 1)
        name = plain(group, span) if members[0].kind == "score" else ""
        heads.append(f" {name} ".center(span, "─") if name and span > len(name) + 3 else name.center(span))
        at += len(members)
    lines.append("  ".join(heads).rstrip())
    for r, row in enumerate(grid[1:]):
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        if r and table.rows[r - 1].rule:
            lines.append(rule)
        if r and table.rows[r - 1].message:
            cells[1:] = [plain(table.rows[r - 1].message, 90)]
        lines.append("  ".join(cells).rstrip())
        if r == 0:
            lines.append(rule)
    sd = "± SD between seeds; then " if any("±" in text for row in grid for text in row) else ""
    compared = any(cell.delta is not None for row in table.rows for cell in row.cells.values())
    told = f"{sd}the difference to the default, * significant after correction." if compared else sd.partition(";")[0]
    lines += [rule, *([told] if told else [])]
    used = [c for row in table.rows for k in columns for c in row.cells[k.key].notes]
    used += [c.note for c in columns if c.note]
    lines += [f"{letter}) {plain(text)}" for letter, text in table.notes if letter in used]
    lines += [plain(line) for line in table.footer]
    return "\n".join(lines) + "\n"


def _head(column: Column) -> str:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.better or "", "")
    return plain(column.label, NARROW) + arrow + (f" {column.note})" if column.note else "")


def _cell(row: Row, column: Column, spread: bool) -> str:
    cell = row.cells[column.key]
    notes = f" {','.join(cell.notes)})" if cell.notes else ""
    if cell.absent:
        return DASH + notes
    if cell.ends is not None:
        return interval(column, *cell.ends) + notes
    if cell.mean is None:
        return plain(cell.text, 40) + notes
    text = number(column, cell.mean, column.signed)
    if cell.spread is not None and column.spread and spread:
        text += f" ±{number(column, cell.spread)}"
    if cell.delta is not None and cell.delta.known:
        text += f" {number(column, cell.delta.estimate, signed=True):>6}{'*' if cell.called else ' '}"
    elif cell.delta is None and column.better and row.role in ("default", "cited"):
        text += " " * 8
    return text + notes
