"""One table object, from which every rendering (LaTeX, Markdown, HTML, CSV, console) is made.

Numbers are kept in stored units and unrounded; a column says by how much they are multiplied to be shown and
with how many decimals, so that all renderings print the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reports.contrast import Contrast

UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Column:
    """A column: what it is called, under which group, and how its numbers are shown.

    kind: `text` (the arm's name), `axis`, `cost` or `score`; `better` is `higher`, `lower` or None (never
    ranked).
    """

    key: str
    label: str
    group: str = ""
    kind: str = "score"
    better: str | None = None
    scale: float = 1.0
    decimals: int = 1
    hint: str = ""
    spread: bool = True
    signed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: a text, a check mark or a number with what is known about it, in stored units.

    `delta` is the comparison with the default and `called` whether it is significant after correction;
    `interval` is the number's own interval; `rank` 1 is the best of its column, 2 the second; `absent` prints
    as a dash.
    """

    text: str = ""
    check: bool | None = None
    muted: bool = False
    mean: float | None = None
    spread: float | None = None
    seeds: tuple[tuple[int, float], ...] = ()
    delta: Contrast | None = None
    called: bool = False
    interval: Contrast | None = None
    rank: int = 0
    notes: tuple[str, ...] = ()
    absent: bool = False


@dataclass(frozen=True)
class Row:
    """A row: an arm (`role` is `default` for the one that the others are compared with)."""

    key: str
    cells: dict[str, Cell]
    role: str = "arm"


@dataclass(frozen=True)
class Table:
    """A titled table with lettered footnotes; `footer` are lines on all of it: how its numbers came about."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...] = ()
    headline: str = ""
    footer: tuple[str, ...] = ()

    def groups(self) -> list[tuple[str, list[Column]]]:
        """Neighbouring columns of one group, in order; the first group is the arm's name."""
        found: list[tuple[str, list[Column]]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group and column.group:
                found[-1][1].append(column)
            else:
                found.append((column.group, [column]))
        return found


@dataclass
class Footnotes:
    """Hands out letters to footnotes; the same text keeps its letter."""

    texts: list[str] = field(default_factory=list)

    def letter(self, text: str) -> str:
        """The letter of a footnote, new or old: a, b, ... z, aa, ab."""
        if text not in self.texts:
            self.texts.append(text)
        index, letters = self.texts.index(text), ""
        while index >= 0:
            letters = chr(ord("a") + index % 26) + letters
            index = index // 26 - 1
        return letters

    def listed(self) -> tuple[tuple[str, str], ...]:
        """(letter, text) in the order of first use."""
        return tuple((self.letter(text), text) for text in self.texts)


def ranked(column: Column, cells: Sequence[Cell]) -> list[Cell]:
    """Mark the best and the second-best of a column, as they print; a tie shares its rank."""
    if column.better is None:
        return list(cells)
    sign = 1 if column.better == "higher" else -1
    shown = [round(sign * c.mean * column.scale, column.decimals) if c.mean is not None else None for c in cells]
    levels = sorted({v for v in shown if v is not None}, reverse=True)
    if len(levels) < 2:
        return list(cells)
    return [
        replace(c, rank=1 + levels[:2].index(v)) if v in levels[:2] else c for c, v in zip(cells, shown, strict=True)
    ]


def common_unit(values: Sequence[float]) -> tuple[float, str]:
    """(factor, suffix) that bring the largest value below a thousand: 1.2e13 gives (1e-12, 'T')."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    for size, suffix in UNITS:
        if largest >= size:
            return 1 / size, suffix
    return 1.0, ""
