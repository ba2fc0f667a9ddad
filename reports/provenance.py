"""Which runs a table's numbers come from, so that every one can be traced."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from reports.frame import Frame
from reports.table import Cell, Provenance, Row, Run, Table


def provenance(frame: Frame) -> Provenance:
    """The study's commit, the hash of its plan, and every finished run with its MLflow id and stage keys."""
    git, plan = frame.header.get("git") or {}, frame.header.get("plan")
    finished = frame.runs[frame.runs["status"] == "done"]
    runs = tuple(
        Run(str(r.arm), int(r.seed), str(r.mlflow_run_id), tuple((str(k), str(v)) for k, v in r.stage_keys.items()))
        for r in finished.itertuples(index=False)
    )
    text = json.dumps(plan, sort_keys=True, default=str) if plan else ""
    return Provenance(
        study=frame.study.name,
        default=frame.study.default,
        commit=str(git.get("commit") or ""),
        dirty=bool(git.get("dirty")),
        plan=hashlib.sha256(text.encode()).hexdigest()[:12] if text else "",
        runs=runs,
    )


def cell_runs(table: Table, row: Row, cell: Cell) -> tuple[list[Run], list[Run]]:
    """(the runs behind a number, the default's runs that it was compared with); none of what is no number."""
    if cell.mean is None and cell.ends is None:
        return [], []
    behind = table.provenance
    own = behind.of(row.own, [seed for seed, _ in cell.seeds])
    compared = cell.delta is not None and cell.delta.known and row.role == "arm"
    return own, behind.of((behind.default,), [run.seed for run in own]) if compared else []


def describe(table: Table) -> dict[str, Any]:
    """The table's provenance as plain data: study, commit, plan, and its runs in order."""
    behind = table.provenance
    return {
        "study": behind.study,
        "commit": behind.commit,
        "dirty": behind.dirty,
        "plan_hash": behind.plan,
        "runs": [
            {
                "arm": run.arm,
                "seed": run.seed,
                "run_id": run.run_id,
                "stage_keys": dict(run.stage_keys),
                "config_hash": run.stage_keys[-1][1] if run.stage_keys else "",
            }
            for run in behind.runs
        ],
    }


def places(table: Table) -> dict[tuple[str, int], int]:
    """Arm and seed -> place in the list of runs, by which cells name them."""
    return {(run.arm, run.seed): place for place, run in enumerate(table.provenance.runs)}
