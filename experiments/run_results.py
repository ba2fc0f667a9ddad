"""What one run came to, read from the store: its entry in ``runs.json``, its records, its curve, its pictures.

The study folder and MLflow are both filled from here, so that a report made from either reads the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.metrics_table import run_metrics
from experiments.plan import Plan, Run
from experiments.store import Store, read_json

CURVE_STAGES = ("pretrain", "tune", "cooldown")  # whose losses are an arm's learning curve, in this order
PICTURES = (".png", ".webp", ".jpg")


def own_stages(run: Run) -> list[str]:
    """The stages that train what a run's arm is, in order: their losses are its curve, their ledgers its cost.

    The stages before them are shared. Where a study stops at a stage that another closes, it is that stage.
    """
    return [run.closed_stage] if run.closed_stage else [stage for stage in CURVE_STAGES if stage in run.stage_keys]


def stage_ledger(store: Store, run: Run, stage: str) -> dict[str, Any]:
    """What a stage cost a run; where its end branched off a longer trunk, what the trunk had cost by then."""
    key, name = run.stage_keys[stage], "ledger.json"
    at = branches_at(run)
    if at is not None and stage == own_stages(run)[-2]:
        name = f"branch-{at}.json"
    return store.read(stage, key, name) or {}


def branches_at(run: Run) -> int | None:
    """The step at which a run's cool-down branches off its trunk; None where it begins at the trunk's end."""
    at = (run.config.get("cooldown") or {}).get("at")
    if at is None or run.closed_stage or len(own_stages(run)) < 2 or at == run.config["train"]["steps"]:
        return None
    return int(at)


def records_folder(store: Store, run: Run) -> Path | None:
    """The folder of the finished stage that leaves a run's records; None until there is one."""
    key = run.stage_keys.get(run.records_stage or "")
    if run.records_stage is None or key is None or not store.is_done(run.records_stage, key):
        return None
    return store.folder(run.records_stage, key)


def skipped(store: Store, run: Run) -> dict[str, str]:
    """Metric or benchmark -> why this run has no value of it."""
    folder = records_folder(store, run)
    found = read_json(folder / "skipped.json") if folder is not None else None
    return found if isinstance(found, dict) else {}


def fingerprints(store: Store, run: Run) -> dict[str, dict[str, Any]]:
    """Benchmark -> by which rule this run was evaluated; empty until it is."""
    folder = records_folder(store, run)
    found = read_json(folder / "protocol.json") if folder is not None else None
    if not isinstance(found, dict):
        return {}
    return {name: entry["fingerprint"] for name, entry in found.items() if "fingerprint" in entry}


def curve_points(store: Store, run: Run) -> list[tuple[str, int, float, str, float]]:
    """A run's learning curve: (stage, step, cumulative training FLOPs, name, value).

    Losses come from the histories of the arm's own stages, scores on the way from the evaluation's ``curve.jsonl``.
    Where a line does not tell its FLOPs, they follow from the stage's ledger in proportion to its steps.
    """
    points = []
    before, ends = 0.0, branches_at(run)
    for stage in own_stages(run):
        key = run.stage_keys.get(stage)
        if key is None or not store.is_done(stage, key):
            continue
        ledger = stage_ledger(store, run, stage)
        flops, steps = float(ledger.get("flops", 0.0)), float(ledger.get("steps", 0) or 1)
        for line in read_lines(store.folder(stage, key) / "history.jsonl"):
            step = int(line.pop("step"))
            if ends is not None and stage != own_stages(run)[-1] and step > ends:
                continue
            at = float(line.pop("flops", before + flops * min(1.0, step / steps)))
            points += [(stage, step, at, name, float(value)) for name, value in line.items() if _is_number(value)]
        before += flops
    if (folder := records_folder(store, run)) is not None:
        for line in read_lines(folder / "curve.jsonl"):
            point = (int(line["step"]), float(line["flops"]), line["name"], float(line["value"]))
            points.append((str(run.records_stage), *point))
    return points


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON-lines file; empty where there is none (not every stage has a history)."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def run_entry(store: Store, run: Run) -> dict[str, Any]:
    """A run's entry in ``runs.json``: its state, keys, numbers and costs; ``mlflow_run_id`` is for others to fill."""
    from experiments.status import run_state

    state = run_state(store, run)
    dones = {stage: body for stage, key in run.stage_keys.items() if (body := store.done(stage, key))}
    ledgers = {stage: stage_ledger(store, run, stage) for stage in dones}
    return {
        "arm": run.arm,
        "seed": run.seed,
        "name": run.name,
        "levels": run.levels,
        "status": "done" if state.status == "done" else "failed" if state.status == "failed" else "missing",
        "stage_keys": run.stage_keys,
        "metrics": run_metrics(store, run),
        "skipped": skipped(store, run),
        "fingerprints": fingerprints(store, run),
        "ledgers": {stage: ledger for stage, ledger in ledgers.items() if ledger},
        "wall_s": {stage: body["wall_s"] for stage, body in dones.items()},
        "cpu_s": {stage: body["cpu_s"] for stage, body in dones.items()},
        "mlflow_run_id": None,
        "command": run.command,
        "error": state.error,
    }


def finished_s(store: Store, runs: Iterable[Run]) -> float:
    """When the last finished stage of these runs was finished, in seconds since 1970; 0 where none is."""
    identities = {identity for run in runs for identity in run.stage_keys.items()}
    return max((float(body["finished"]) for identity in identities if (body := store.done(*identity))), default=0.0)


def records_table(plan: Plan, run: Run, source: Path) -> Any:
    """The records in a finished stage's folder as an Arrow table, with the columns study, arm and seed in front."""
    import pyarrow as arrow
    from pyarrow import parquet

    table = parquet.read_table(source / "records.parquet")
    for name, kind, value in (
        ("seed", arrow.int64(), run.seed),
        ("arm", arrow.string(), run.arm),
        ("study", arrow.string(), plan.study.name),
    ):
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.add_column(0, name, arrow.array([value] * table.num_rows, kind))
    return table.replace_schema_metadata(None)


def curves_table(store: Store, runs: Iterable[Run]) -> Any:
    """The learning curves of runs as one Arrow table."""
    import pyarrow as arrow

    rows = [(run.arm, run.seed, *point) for run in runs for point in curve_points(store, run)]
    types = {
        "arm": arrow.string(),
        "seed": arrow.int64(),
        "stage": arrow.string(),
        "step": arrow.int64(),
        "flops": arrow.float64(),
        "name": arrow.string(),
        "value": arrow.float64(),
    }
    columns: Sequence[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in types]
    arrays = [arrow.array(list(column), kind) for column, kind in zip(columns, types.values(), strict=True)]
    return arrow.table(dict(zip(types, arrays, strict=True)))


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, by name; none where there is no folder."""
    return sorted(path for path in folder.glob("*") if path.suffix in PICTURES)


def write_parquet(table: Any, path: Path) -> None:
    """Write a table so that ``path`` holds either the old content or the whole new one."""
    from pyarrow import parquet

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    parquet.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)
