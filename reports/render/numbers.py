"""How numbers and foreign text print, the same in every rendering."""

from __future__ import annotations

import math
import unicodedata

from reports.contrast import Contrast
from reports.table import Cell, Column, Table

MINUS = "−"
DASH = "–"


def number(column: Column, value: float, signed: bool = False) -> str:
    """A stored value as the column shows it: `93.1`, `−4.3`; never `−0.0`."""
    if not math.isfinite(value):
        return DASH
    if column.form == "p":
        return pvalue(value)
    text = f"{value * column.scale:.{column.decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
        return text
    if text.startswith("-"):
        return MINUS + text[1:]
    return "+" + text if signed else text


def interval(column: Column, low: float, high: float) -> str:
    """`[−5.1, −3.5]`."""
    return f"[{number(column, low)}, {number(column, high)}]"


def difference(column: Column, found: Contrast) -> str:
    """A difference with its interval, `−4.3 [−5.1, −3.5]`; of a compact column without."""
    change = number(column, found.estimate, signed=True)
    return change if column.compact else f"{change} {interval(column, found.low, found.high)}"


def panel_title(place: int, panel: Table) -> str:
    """`(a) tokens: dynamic beats fixed`."""
    return f"({chr(ord('a') + place % 26)}) {plain(panel.title, 120)}"


def good(column: Column, value: float) -> bool:
    """Whether a difference goes the way that the column calls better."""
    return (value > 0) == (column.better != "lower")


def plain(text: object, limit: int = 0) -> str:
    """Foreign text on one line, without control or direction-changing characters, at most `limit` long."""
    kept = []
    for char in str(text):
        category = unicodedata.category(char)
        if char in "\n\r\t":
            kept.append(" ")
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            kept.append("\ufffd" if category != "Cf" else "")
        else:
            kept.append(char)
        if limit and len(kept) > 4 * limit + 16:
            break
    line = " ".join("".join(kept).split())
    return line if not limit or len(line) <= limit else line[: limit - 1] + "…"


def tooltip(column: Column, cell: Cell) -> str:
    """Everything known about a cell, for a hover: its seeds, the difference, its interval, p and power."""
    lines = [column.hint] if column.hint else []
    if cell.seeds:
        lines.append(", ".join(f"seed {seed}: {number(column, value)}" for seed, value in cell.seeds))
    for found, what in ((cell.delta, "Δ to default"), (cell.interval, "difference")):
        if found is None or not found.known:
            continue
        lines.append(
            f"{what} {number(column, found.estimate, True)} {interval(column, found.low, found.high)}"
            + (f", p {pvalue(found.p)}" if what != "difference" else "")
            + (f", adjusted {pvalue(found.p_adjusted)}" if math.isfinite(found.p_adjusted) else "")
        )
        if math.isfinite(found.detectable):
            lines.append(f"smallest detectable {number(column, found.detectable)}")
        lines.append(
            f"{found.n_seeds} seed(s), {found.n_examples} examples in {found.n_clusters} clusters; covers {found.scope}"
        )
    return "\n".join(lines)


def pvalue(p: float) -> str:
    """`0.031`, `< 0.001`."""
    if not math.isfinite(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
