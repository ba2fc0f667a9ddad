"""A LaTeX `tabular`: its header, its rows, and estimates of how wide and tall it will be."""

from __future__ import annotations

from collections.abc import Sequence

from reports.render.numbers import good, interval, number, plain
from reports.render.tex import escape, two_lines
from reports.table import Cell, Column, Row, Table

WIDTH = 142  # characters of footnotesize: a page of 6.5 inches holds 118, and \lvfit may shrink a strip to five sixths
NAME = 34  # a longer name of a row takes two lines
MESSAGE = 90


def strips(table: Table) -> list[list[Column]]:
    """Columns by strip; every strip starts with the first column, and a group is only split where it must be."""
    name, rest = table.columns[0], list(table.columns[1:])
    if total_width(table, list(table.columns)) <= WIDTH:
        return [list(table.columns)]
    used = _width(table, name)
    found: list[list[Column]] = []
    line, width, last_kind = [name], used, ""
    for _, group in Table("", "", "", tuple(rest), ()).groups():
        turn = group[0].kind == "score" and last_kind in ("axis", "cost")
        for columns in _fitting(table, group, WIDTH - used):
            need = _group_width(table, columns)
            if len(line) > 1 and (width + need > WIDTH or turn):
                found.append(line)
                line, width = [name], used
            line = line + columns
            width += need
            turn = False
        last_kind = group[0].kind
    return [*found, line]


def _fitting(table: Table, group: list[Column], room: float) -> list[list[Column]]:
    """A group's columns in parts that fit a strip."""
    parts: list[list[Column]] = [[]]
    for column in group:
        if parts[-1] and _group_width(table, [*parts[-1], column]) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def total_width(table: Table, columns: list[Column]) -> float:
    """About how many characters of footnotesize these columns take."""
    return sum(_group_width(table, group) for _, group in Table("", "", "", tuple(columns), ()).groups())


def _group_width(table: Table, columns: list[Column]) -> float:
    return max(sum(_width(table, column) for column in columns), 0.8 * len(plain(columns[0].group, 60)) + 1.6)


def _width(table: Table, column: Column) -> float:
    widest = 0.75 * max(len(word) for word in (plain(column.label, 40).split() or [""]))
    for row in table.rows:
        cell = row.cells[column.key]
        own = 0.0
        if cell.ends is not None:
            own = 0.95 * len(interval(column, *cell.ends))
        elif cell.mean is not None:
            own = len(number(column, cell.mean)) + (4 if cell.spread is not None else 0)
        if cell.delta is not None and cell.delta.known:
            change = len(number(column, cell.delta.estimate))
            if column.compact:
                own += 0.8 * (change + 1)
            else:
                own = max(own, 0.72 * (change + len(interval(column, cell.delta.low, cell.delta.high)) + 1))
        if cell.interval is not None and cell.interval.known:
            own = max(own, 0.72 * len(interval(column, cell.interval.low, cell.interval.high)))
        lines = two_lines(plain(cell.text, 60), NAME)
        widest = max(widest, own, 0.8 * max(map(len, lines)))
    return widest + 1.6


def height(row: Row, columns: Sequence[Column]) -> float:
    """About how tall a row is, in points."""
    tall = len(row.cells[columns[0].key].text) > NAME or len(row.message) > MESSAGE
    for column in columns:
        cell = row.cells[column.key]
        below = (cell.delta is not None and cell.delta.known and not column.compact) or cell.interval is not None
        tall = tall or below
    return (19.5 if tall else 10.5) + (6 if row.rule else 0)


def tabular(table: Table, columns: list[Column], rows: Sequence[Row], at: str = "c") -> str:
    """A `tabular` of some columns and rows, aligned at its centre or top."""
    groups = Table("", "", "", tuple(columns), ()).groups()
    spec = "".join("l" if c.kind in ("text", "word") else "c" for c in columns)
    lines = [rf"\begin{{tabular}}[{at}]{{@{{}}{spec}@{{}}}}", r"\toprule"]
    if any(group for group, _ in groups):
        heads, rules, place = [], [], 1
        for group, members in groups:
            span = len(members)
            if group:
                heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(group, 60)}}}")
                rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
            else:
                heads += [""] * span
            place += span
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    widest = {c.key: _widest(table, c) for c in columns}
    lines += [" & ".join(_head(c, widest[c.key]) for c in columns) + r" \\", r"\midrule"]
    for i, row in enumerate(rows):
        if row.rule and i:
            lines.append(r"\midrule")
        lines.append(_row(row, columns, widest))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines)


def _math(text: str) -> str:
    """A printed number for LaTeX: its minus and its comparison are math."""
    return text.replace("−", "$-$").replace("<", "$<$").replace("–", "--")


def _widest(table: Table, column: Column) -> str:
    """The longest difference of a compact column, which gives all of them their width."""
    cells = [row.cells[column.key] for row in table.rows] if column.compact else []
    found = [number(column, c.delta.estimate, True) for c in cells if c.delta is not None and c.delta.known]
    return _math(max(found, key=len)) if found else ""


def _head(column: Column, widest: str) -> str:
    arrow = {"higher": r"\,$\uparrow$", "lower": r"\,$\downarrow$"}.get(column.better or "", "")
    note = rf"\textsuperscript{{{column.note}}}" if column.note else ""
    beside = rf"\dbox{{{widest}}}{{}}" if widest else ""  # so that the head stands over the numbers
    label = plain(column.label, 40)
    top, bottom = label, ""
    if column.kind != "text" and len(label) > 8 and " " in label:
        spaces = [at for at, char in enumerate(label) if char == " "]
        middle = min(spaces, key=lambda at: abs(at - len(label) / 2))
        top, bottom = label[:middle], label[middle + 1 :]
    if bottom:
        return rf"\two{{{escape(top)}}}{{{escape(bottom)}{arrow}{note}}}{beside}"
    return escape(label) + arrow + note + beside


def _row(row: Row, columns: list[Column], widest: dict[str, str]) -> str:
    start = r"\defaultrow " if row.role == "default" else ""
    cells = [_cell(row, column, widest[column.key]) for column in columns]
    if row.message and len(columns) > 1:
        top, bottom = two_lines(plain(row.message, 2 * MESSAGE), MESSAGE)
        text = rf"\lvname{{{escape(top)}}}{{{escape(bottom)}}}" if bottom else escape(top)
        cells = [cells[0], rf"\multicolumn{{{len(columns) - 1}}}{{l}}{{\same{{{text}}}}}"]
    return start + " & ".join(cells) + r" \\"


def _cell(row: Row, column: Column, widest: str) -> str:
    cell: Cell = row.cells[column.key]
    notes = rf"\textsuperscript{{{','.join(cell.notes)}}}" if cell.notes else ""
    text = _value(cell, column)
    if row.role == "cited" and text:
        text = rf"\cited{{{text}}}"
    text += notes
    if cell.mean is None:
        return text
    if column.compact and widest:
        change = "" if cell.delta is None else _difference(cell, column, "diff")
        return text + rf"\dbox{{{widest}}}{{{change}}}"
    if cell.delta is not None and cell.delta.known:
        around = _math(interval(column, cell.delta.low, cell.delta.high))
        return rf"\two{{{text}}}{{{_difference(cell, column, 'delt')}{{{around}}}}}"
    if cell.interval is not None and cell.interval.known:
        return rf"\two{{{text}}}{{\delt{{}}{{{_math(interval(column, cell.interval.low, cell.interval.high))}}}}}"
    return text


def _value(cell: Cell, column: Column) -> str:
    if cell.absent:
        return "--"
    if cell.check is not None:
        return r"\cmark" if cell.check else r"\xmark"
    if cell.ends is not None:
        return _math(interval(column, *cell.ends))
    if cell.mean is None:
        top, bottom = two_lines(plain(cell.text, 60), NAME)
        text = rf"\lvname{{{escape(top)}}}{{{escape(bottom)}}}" if bottom else escape(top)
        return rf"\same{{{text}}}" if cell.muted and text else text
    text = _math(number(column, cell.mean, column.signed))
    text = {1: rf"\textbf{{{text}}}", 2: rf"\second{{{text}}}"}.get(cell.rank, text)
    if cell.spread is not None and column.spread:
        text += rf"\pmsub{{{number(column, cell.spread)}}}"
    return text


def _difference(cell: Cell, column: Column, macro: str) -> str:
    r"""`\deltbad{-4.3}`: a difference in the macro that colours it, or does not."""
    if cell.delta is None or not cell.delta.known:
        return ""
    kind = ("good" if good(column, cell.delta.estimate) else "bad") if cell.called else ""
    return rf"\{macro}{kind}{{{_math(number(column, cell.delta.estimate, signed=True))}}}"
