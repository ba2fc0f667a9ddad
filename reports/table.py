"""One table object, from which every rendering (LaTeX, Markdown, HTML, CSV, console) is made.

Numbers are kept in stored units and unrounded; a column says by how much they are multiplied to be shown and
with how many decimals, so that all renderings print the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from reports.contrast import Contrast

UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Column:
    """A column: what it is called, under which group, and how its numbers are shown.

    kind: `text` (the arm's name), `axis`, `cost`, `score` or `word`; `better` is `higher`, `lower` or None (never
    ranked). form: `number`, or `p` for a p-value. compact: the difference stands beside the number, without its
    interval (which CSV and JSON have).
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
    form: str = "number"
    compact: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell: a text, a check mark or a number with what is known about it, in stored units.

    `delta` is the comparison with the default and `called` whether it is significant after correction;
    `interval` is the number's own interval; `ends` an interval alone; `rank` 1 is the best of its column or not told
    from it, 2 the second; `absent` prints as a dash. `examples`: how many were scored for it.
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
    ends: tuple[float, float] | None = None
    examples: int | None = None


@dataclass(frozen=True)
class Row:
    """A row.

    role: `arm`, `default` (the arm or level that the others are compared with), `level` (of an axis), `effect`, or
    `cited` (published elsewhere: grey, never ranked and never tested). rule: a line above it. message: stands in place
    of all cells but the first. arms: whose runs its numbers come from, by default the arm `key`.
    """

    key: str
    cells: dict[str, Cell]
    role: str = "arm"
    rule: bool = False
    message: str = ""
    arms: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """The arms whose runs its numbers come from; none where it is cited."""
        return () if self.role == "cited" else self.arms or (self.key,)


@dataclass(frozen=True)
class Run:
    """One training run behind a number: its MLflow id, and the keys of its stages (hashes of their configuration)."""

    arm: str
    seed: int
    run_id: str = ""
    stage_keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where a table's numbers come from: the study, its commit and plan, and every finished run."""

    study: str = ""
    default: str = ""
    commit: str = ""
    dirty: bool = False
    plan: str = ""
    runs: tuple[Run, ...] = ()

    def of(self, arms: Sequence[str], seeds: Sequence[int] | None = None) -> list[Run]:
        """The finished runs of these arms, of these seeds alone where some are named."""
        return [run for run in self.runs if run.arm in arms and (not seeds or run.seed in seeds)]


@dataclass(frozen=True)
class Table:
    """A titled table with lettered footnotes; `footer` are lines on all of it: how its numbers came about.

    A table of `panels` has no rows of its own: each panel is a small table, whose title says what it shows.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...] = ()
    headline: str = ""
    footer: tuple[str, ...] = ()
    panels: tuple[Table, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

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


def ranked(column: Column, cells: Sequence[Cell], group: Collection[int] = ()) -> list[Cell]:
    """Mark the best and the second-best of a column, as they print; a tie shares its rank.

    Args:
        column: says which way is better; one that says nothing is not ranked.
        cells: one a row.
        group: places of the cells that are not told from the best (see `reports.best`): they share its rank, and the
            second is marked only where it is none of them.
    """
    if column.better is None:
        return list(cells)
    sign = 1 if column.better == "higher" else -1
    shown = [round(sign * c.mean * column.scale, column.decimals) if c.mean is not None else None for c in cells]
    levels = sorted({v for v in shown if v is not None}, reverse=True)
    if len(levels) < 2:
        return list(cells)
    ranks = [
        1 if place in group else 1 + levels[:2].index(v) if v in levels[:2] else 0 for place, v in enumerate(shown)
    ]
    return [replace(c, rank=rank) if rank else c for c, rank in zip(cells, ranks, strict=True)]


def common_unit(values: Sequence[float]) -> tuple[float, str]:
    """(factor, suffix) that bring the largest value below a thousand: 1.2e13 gives (1e-12, 'T')."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    for size, suffix in UNITS:
        if largest >= size:
            return 1 / size, suffix
    return 1.0, ""
