"""CSV and JSON: every number of a table in stored units and unrounded."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from reports.contrast import Contrast
from reports.table import Cell, Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render_csv(table: Table) -> str:
    """One line an arm; a measured column spreads over its mean, SD, difference, interval and p."""
    flat = [[_flat(column.key, row.cells[column.key]) for column in table.columns] for row in table.rows]
    heads = [head for at in range(len(table.columns)) for head in dict.fromkeys(h for row in flat for h in row[at])]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(head) for head in heads])
    for row in flat:
        line = {head: text for cell in row for head, text in cell.items()}
        writer.writerow([line.get(head, "") for head in heads])
    return out.getvalue()


def _flat(key: str, cell: Cell) -> dict[str, str]:
    if cell.mean is None:
        return {key: "" if cell.absent else _safe(cell.text)}
    values = {key: repr(cell.mean)}
    if cell.spread is not None:
        values[f"{key}.sd"] = repr(cell.spread)
    for found, what in ((cell.delta, "delta"), (cell.interval, "interval")):
        if found is not None and found.known:
            if what == "delta":
                values[f"{key}.delta"] = repr(found.estimate)
            values[f"{key}.low"], values[f"{key}.high"] = repr(found.low), repr(found.high)
            if math.isfinite(found.p_adjusted):
                values[f"{key}.p_adjusted"] = repr(found.p_adjusted)
    return values


def _safe(text: str) -> str:
    """A spreadsheet must not take an arm's name for a formula."""
    return "'" + text if text.startswith(FORMULA) else text


def render_json(table: Table) -> str:
    """The whole table object."""
    document = {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": [
            {"key": c.key, "label": c.label, "group": c.group, "better": c.better, "shown_times": c.scale}
            for c in table.columns
        ],
        "rows": [
            {"arm": row.key, "role": row.role, "cells": {k: _whole(c) for k, c in row.cells.items()}}
            for row in table.rows
        ],
        "notes": [{"letter": letter, "text": text} for letter, text in table.notes],
        "footer": list(table.footer),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _whole(cell: Cell) -> dict[str, Any]:
    if cell.mean is None:
        return {"absent": True} if cell.absent else {"text": cell.text}
    found: dict[str, Any] = {
        "mean": cell.mean,
        "sd": cell.spread,
        "seeds": {str(s): v for s, v in cell.seeds},
    }
    if cell.delta is not None:
        found["delta"] = numbers_of(cell.delta)
    if cell.interval is not None:
        found["interval"] = numbers_of(cell.interval)
    return found


def numbers_of(found: Contrast) -> dict[str, Any]:
    """A contrast as plain data; what is not known is null."""
    names = (
        "estimate",
        "low",
        "high",
        "se",
        "df",
        "p",
        "p_adjusted",
        "detectable",
        "unpooled_low",
        "unpooled_high",
    )
    values: dict[str, Any] = {name: finite(getattr(found, name)) for name in names}
    values |= {"n_seeds": found.n_seeds, "n_examples": found.n_examples, "n_clusters": found.n_clusters}
    values |= {
        "seed_share": finite(found.seed_share),
        "family_size": found.family_size,
        "pooled": found.pooled,
    }
    return values | {"scope": found.scope, "reason": found.reason}


def finite(value: float) -> float | None:
    """The number, or None where it is not finite (JSON has no NaN)."""
    return float(value) if math.isfinite(value) else None
