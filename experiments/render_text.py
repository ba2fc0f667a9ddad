"""Text for the console: labelled paragraphs, tables and durations in at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100
LABEL = 11  # width of the words at the left


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min 20 s`, `2 h 05 min`, `4 d 8 h`; a dash where it is not known."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole < 600 else "")
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns two spaces apart: the first `left` of them flush left, the others flush right."""
    wide = widths(rows)
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide, strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column is."""
    return [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]


def wrapped(label: str, text: str) -> list[str]:
    """A paragraph with its label at the left."""
    indent = " " * (LABEL + 2)
    lines = textwrap.wrap(text, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [f"  {label:<{LABEL}}{line}" if i == 0 else indent + line for i, line in enumerate(lines)]


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 arm`, `2 arms`, `2 axes`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def cut(text: str, width: int) -> str:
    """Text of at most `width` characters."""
    return text if len(text) <= width else text[: width - 3] + "..."
