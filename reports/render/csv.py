"""CSV and JSON: every number of a table in stored units and unrounded."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from reports.contrast import Contrast
from reports.provenance import cell_runs, describe, places
from reports.table import Cell, Run, Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render_csv(table: Table) -> str:
    """One line a row, the panels one after another; a measured column spreads over its mean, SD, difference, interval
    and p. The last columns say what the row is (`role`), and why it has no numbers (`message`) where one does not.
    """
    parts = table.panels or (table,)
    columns = list(dict.fromkeys(column.key for part in parts for column in part.columns))
    flat = []
    for part in parts:
        for row in part.rows:
            cells = [_flat(key, row.cells[key]) if key in row.cells else {key: ""} for key in columns]
            panel = {"panel": _safe(part.columns[0].label)} if table.panels else {}
            more = {"message": _safe(row.message)} if any(r.message for p in parts for r in p.rows) else {}
            flat.append([panel, *cells, {"role": row.role}, more])
    heads = [head for at in range(len(columns) + 3) for head in dict.fromkeys(h for row in flat for h in row[at])]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(head) for head in heads])
    for line_of in flat:
        line = {head: text for cell in line_of for head, text in cell.items()}
        writer.writerow([line.get(head, "") for head in heads])
    return out.getvalue()


def _flat(key: str, cell: Cell) -> dict[str, str]:
    if cell.ends is not None:
        return {f"{key}.low": repr(cell.ends[0]), f"{key}.high": repr(cell.ends[1])}
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
    """The whole table object, with the runs behind every number.

    `provenance` lists the runs; a number's `from` names their places in that list, their MLflow ids, seeds, how many
    examples each was scored on, and under `against` the default's runs that it is compared with.
    """
    document = {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        **_body(table, table),
        "panels": [{"name": p.name, "title": p.title, **_body(p, table)} for p in table.panels],
        "notes": [{"letter": letter, "text": text} for letter, text in table.notes],
        "footer": list(table.footer),
        "provenance": describe(table),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _body(part: Table, table: Table) -> dict[str, Any]:
    at = places(table)
    rows = []
    for row in part.rows:
        cells = {}
        for key, cell in row.cells.items():
            cells[key] = _whole(cell)
            runs, against = cell_runs(table, row, cell)
            if runs:
                cells[key]["from"] = _behind(runs, at) | {"n_examples": cell.examples}
            if against:
                cells[key]["from"]["against"] = _behind(against, at)
        told = {"message": row.message} if row.message else {}
        rows.append({"arm": row.key, "role": row.role, **told, "cells": cells})
    columns = [
        {"key": c.key, "label": c.label, "group": c.group, "better": c.better, "shown_times": c.scale}
        for c in part.columns
    ]
    return {"columns": columns, "rows": rows}


def _behind(runs: list[Run], at: dict[tuple[str, int], int]) -> dict[str, Any]:
    """Runs as a number names them; their ids only where they were tracked."""
    found: dict[str, Any] = {"runs": [at[run.arm, run.seed] for run in runs]}
    if any(run.run_id for run in runs):
        found["run_ids"] = [run.run_id for run in runs]
    return found | {"seeds": sorted({run.seed for run in runs})}


def _whole(cell: Cell) -> dict[str, Any]:
    if cell.ends is not None:
        return {"low": finite(cell.ends[0]), "high": finite(cell.ends[1])}
    if cell.mean is None:
        return {"absent": True} if cell.absent else {"text": cell.text}
    found: dict[str, Any] = {
        "mean": finite(cell.mean),
        "sd": cell.spread,
        "seeds": {str(s): v for s, v in cell.seeds},
    }
    if cell.rank:
        found["rank"] = cell.rank
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
