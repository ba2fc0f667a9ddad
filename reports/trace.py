"""From a number to its runs: seeds, run ids, stage keys, commands, commits, and links to MLflow where one is known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from reports.commits import commits_of
from reports.contrast import Contrast
from reports.fingerprints import SHORT
from reports.frame import Frame
from reports.measure import Measure
from reports.results import Results
from reports.table import Cell, Column, Table


@dataclass(frozen=True)
class Tracking:
    """Where the study's runs lie in MLflow. `server` is "" where its store is a database or a folder here."""

    server: str = ""
    experiment: str = ""

    def link(self, run_id: str) -> str:
        """Address of a run in the server's interface; "" where there is none to link to."""
        if not (self.server and self.experiment and run_id):
            return ""
        return f"{self.server}/#/experiments/{quote(self.experiment, safe='')}/runs/{quote(run_id, safe='')}"


def read_tracking(frame: Frame) -> Tracking:
    """From the study's mlflow.json; nothing where it was not tracked."""
    path = frame.folder / "mlflow.json"
    if not path.is_file():
        return Tracking()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return Tracking()  # a link is a convenience: the report stands without it
    if not isinstance(found, dict):
        return Tracking()
    return Tracking(_server(str(found.get("tracking_uri") or "")), str(found.get("experiment_id") or ""))


def _server(uri: str) -> str:
    """A web address without the name and password that it may hold; "" for everything else."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or not all(c.isalnum() or c in ".-_:" for c in host):
        return ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{host}:{port}" if port else host, quote(parts.path.rstrip("/")), "", ""))


@dataclass(frozen=True)
class Origin:
    """What is known of one run: `commits` are those that its stages were made at, `key` is that of its evaluation."""

    arm: str
    seed: int
    status: str
    error: str
    run_id: str
    command: str
    stages: dict[str, str]
    seconds: float
    records: str
    commits: tuple[str, ...]


def origins(results: Results) -> list[Origin]:
    """Every run of the study in its order, finished or not."""
    frame, found = results.frame, []
    for run in frame.runs.itertuples(index=False):
        path = frame.files.get((run.arm, int(run.seed)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path is not None else ""
        found.append(
            Origin(
                run.arm,
                int(run.seed),
                run.status,
                run.error,
                run.mlflow_run_id,
                run.command,
                {str(stage): str(key) for stage, key in run.stage_keys.items()},
                math.fsum(float(seconds) for seconds in run.wall_s.values()),
                digest,
                commits_of(run.git),
            )
        )
    return found


def trace_data(results: Results, tables: Sequence[Table], runs: Sequence[Origin]) -> dict[str, Any]:
    """What the page says of a cell when it is asked: plain data, with foreign text left as it is."""
    tracking, known = read_tracking(results.frame), results.frame.fingerprints
    git = results.frame.header.get("git") or {}
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        entry: dict[str, Any] = {"s": run.seed, "status": run.status, "records": run.records}
        entry |= {"id": run.run_id, "command": run.command, "stages": run.stages, "commits": list(run.commits)}
        by_arm.setdefault(run.arm, []).append(entry)
    hashes = {
        name: sorted({str(own.get("hash", ""))[:SHORT] for own in known.of(name).values()}) for name in known.benchmarks
    }
    return {
        "link": tracking.link("RUN"),
        "tracked": any(run.run_id for run in runs),
        "commit": str(git.get("commit") or ""),
        "dirty": bool(git.get("dirty")),
        "rules": hashes,
        "runs": by_arm,
        "tables": {name: _table(results, table) for name, table in _parts(tables).items()},
    }


def _parts(tables: Sequence[Table]) -> dict[str, Table]:
    """The tables that the page shows by the names that it gives them: a panel has its table's and its number."""
    parts: dict[str, Table] = {}
    for table in tables:
        parts |= {f"{table.name}.{i}": panel for i, panel in enumerate(table.panels)} or {table.name: table}
    return parts


def _table(results: Results, table: Table) -> dict[str, Any]:
    """Columns and rows in the table's order; a row of what others published has no run to lead to."""
    columns = []
    for column in table.columns:
        shown: dict[str, Any] = {"label": column.label, "group": column.group, "hint": column.hint, "key": column.key}
        shown |= {"scale": column.scale, "decimals": column.decimals, "form": column.form}
        columns.append(shown | _measured(results, column))
    rows = []
    for row in table.rows:
        arms = [arm for arm in row.own if arm in results.frame.study.arms]
        cells = [_cell(row.cells[column.key]) if column.key in row.cells else {} for column in table.columns]
        first = row.cells[table.columns[0].key].text or row.key
        rows.append({"name": first, "key": row.key, "arms": arms, "cells": cells if arms and not row.message else []})
    return {"columns": columns, "rows": rows}


def _measured(results: Results, column: Column) -> dict[str, Any]:
    """Of a column of scores: its benchmark, and on how many examples in how many clusters it was measured."""
    source, _, label = column.key.partition(".")
    if "/" not in label:
        return {}
    measure: Measure | None = next((m for m in results.scores.primary if m.label == label), None)
    control = ""
    if measure is None:
        label, _, control = label.partition("@")
        measure = results.scores.find(label) if source != "metric" else None
    if measure is None:
        return {"benchmark": label.split("/")[0]}
    cube = results.scores.cube(measure)
    counts = {"examples": cube.examples, "clusters": cube.clusters} if cube is not None and not control else {}
    return {"benchmark": measure.benchmark, "split": measure.split, "control": control} | counts


def _cell(cell: Cell) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if cell.mean is not None and math.isfinite(cell.mean):
        told["mean"] = short(cell.mean)
    elif cell.ends is not None:
        told["ends"] = [short(end) for end in cell.ends]
    else:
        return {}
    if cell.examples is not None:
        told["examples"] = cell.examples
    if cell.spread is not None:
        told["sd"] = short(cell.spread)
    if cell.seeds:
        told["seeds"] = [[seed, short(value)] for seed, value in cell.seeds]
    for name, found in (("delta", cell.delta), ("gap", cell.interval)):
        if found is not None and found.known:
            told[name] = _contrast(found)
    return told


def _contrast(found: Contrast) -> dict[str, Any]:
    numbers = {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "adjusted": found.p_adjusted,
        "detectable": found.detectable,
    }
    told: dict[str, Any] = {name: short(value) for name, value in numbers.items() if math.isfinite(value)}
    counts = {"seeds": found.n_seeds, "examples": found.n_examples, "clusters": found.n_clusters}
    return told | counts | {"family": found.family_size, "scope": found.scope}


def short(value: float) -> float:
    """Eight significant digits: what a reader may want to copy, at half the bytes."""
    return float(f"{value:.8g}")
