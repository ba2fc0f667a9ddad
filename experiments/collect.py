"""From the store to a study folder: everything that a report needs, in one place, at any time.

``<runs>/<study>/`` then holds ``study.yaml``, ``runs.json``, ``records/``, ``curves.parquet``, ``samples/`` and
``images/``. It may be called while a study is half finished; what is missing is marked so. Files are replaced
whole, and collecting the same store twice writes the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from experiments.confounds import allowed, find_confounds
from experiments.environment import environment, git_state
from experiments.freeze import frozen_state
from experiments.metrics_table import run_metrics
from experiments.plan import Plan, Run
from experiments.store import Store, read_json, write_atomic

CURVE_STAGES = ("pretrain", "cooldown")  # whose losses are an arm's learning curve, in this order
SHOWN = (".png", ".webp", ".jpg")


def study_folder(plan: Plan) -> Path:
    """``<runs>/<study>``."""
    return plan.runs_dir / plan.study.name


def own_stages(run: Run) -> list[str]:
    """The stages that train what a run's arm is, in order: their losses are its curve, their ledgers its cost.

    The stages before them are shared. Where a study stops at a stage that another closes, it is that stage.
    """
    return [run.closed_stage] if run.closed_stage else [stage for stage in CURVE_STAGES if stage in run.stage_keys]


def slug(plan: Plan, arm: str) -> str:
    """An arm's name as a file name."""
    return plan.arms[arm].slug


def collect(plan: Plan) -> Path:
    """Write the study folder and return it."""
    folder = study_folder(plan)
    store = Store(plan.runs_dir)
    folder.mkdir(parents=True, exist_ok=True)
    document = yaml.safe_dump(plan.study_document(), sort_keys=False, allow_unicode=True, width=110)
    write_atomic(folder / "study.yaml", "# What was asked, as the report reads it.\n" + document)
    _collect_records(plan, store, folder / "records")
    _collect_pictures(plan, store, folder)
    _collect_curves(plan, store, folder / "curves.parquet")
    write_runs(plan)
    return folder


def write_runs(plan: Plan) -> Path:
    """Write ``runs.json``: each run's state, keys, numbers and costs; written again when MLflow's run ids are known."""
    from experiments.status import run_state

    store = Store(plan.runs_dir)
    folder = study_folder(plan)
    tracked = (read_json(folder / "mlflow.json") or {}).get("runs", {})
    runs, finished = [], [0.0]
    for run in plan.runs:
        state = run_state(store, run)
        dones = {stage: store.done(stage, key) for stage, key in run.stage_keys.items()}
        finished += [body["finished"] for body in dones.values() if body]
        runs.append(
            {
                "arm": run.arm,
                "seed": run.seed,
                "name": run.name,
                "levels": run.levels,
                "status": "done" if state.status == "done" else "failed" if state.status == "failed" else "missing",
                "stage_keys": run.stage_keys,
                "metrics": run_metrics(store, run),
                "skipped": skipped(store, run),
                "fingerprints": fingerprints(store, run),
                "ledgers": {
                    stage: ledger
                    for stage, key in run.stage_keys.items()
                    if dones[stage] and (ledger := store.read(stage, key, "ledger.json"))
                },
                "wall_s": {stage: body["wall_s"] for stage, body in dones.items() if body},
                "cpu_s": {stage: body["cpu_s"] for stage, body in dones.items() if body},
                "mlflow_run_id": tracked.get(f"{run.arm}|{run.seed}"),
                "command": run.command,
                "error": state.error,
            }
        )
    git = git_state()
    body = {
        "study": plan.study.name,
        "git": {"commit": git["commit"], "dirty": git["dirty"]},
        "environment": environment(),
        "created": max(finished),  # when the last stage was finished: the same store gives the same file
        "plan": _with_launch(plan, store),
        "confounds": find_confounds(plan),
        "varied": sorted({path for run in plan.runs for path in allowed(plan, run)}),
        "frozen": frozen_state(plan),  # what differs from the plan that was written down beforehand
        "runs": runs,
    }
    write_atomic(folder / "runs.json", json.dumps(body, indent=1, ensure_ascii=False, default=str))
    return folder / "runs.json"


def _with_launch(plan: Plan, store: Store) -> dict[str, Any]:
    """The plan, and beside each job what its launch expected of its time: by now finished stages have told more."""
    document = plan.to_dict()
    for job in document["jobs"]:
        planned = store.planned(job["stage"], job["key"])
        job["seconds_at_launch"] = planned.get("seconds")
        job["seconds_at_launch_from"] = planned.get("seconds_from", "")
    return document


def records_folder(store: Store, run: Run) -> Path | None:
    """The folder of the finished stage that leaves a run's records; None until there is one."""
    key = run.stage_keys.get(run.records_stage or "")
    if run.records_stage is None or key is None or not store.is_done(run.records_stage, key):
        return None
    return store.folder(run.records_stage, key)


def _evaluated(plan: Plan, store: Store) -> Iterable[tuple[Run, Path]]:
    """Runs whose records are finished, with their folder."""
    for run in plan.runs:
        if (folder := records_folder(store, run)) is not None:
            yield run, folder


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


def record_name(plan: Plan, run: Run) -> str:
    """``<arm-slug>-s<seed>.parquet``."""
    return f"{slug(plan, run.arm)}-s{run.seed}.parquet"


def _collect_records(plan: Plan, store: Store, folder: Path) -> None:
    """One file per run, with the columns study, arm and seed in front; files of runs that are not wanted go."""
    import pyarrow as arrow
    from pyarrow import parquet

    folder.mkdir(exist_ok=True)
    wanted = set()
    for run, source in _evaluated(plan, store):
        if not (source / "records.parquet").is_file():
            continue
        table = parquet.read_table(source / "records.parquet")
        for name, kind, value in (
            ("seed", arrow.int64(), run.seed),
            ("arm", arrow.string(), run.arm),
            ("study", arrow.string(), plan.study.name),
        ):
            if name in table.column_names:
                table = table.drop_columns([name])
            table = table.add_column(0, name, arrow.array([value] * table.num_rows, kind))
        table = table.replace_schema_metadata(None)
        name = record_name(plan, run)
        wanted.add(name)
        _write_parquet(table, folder / name)
    for path in folder.glob("*.parquet"):
        if path.name not in wanted:
            path.unlink()


def _write_parquet(table: Any, path: Path) -> None:
    from pyarrow import parquet

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    parquet.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)


def _collect_pictures(plan: Plan, store: Store, folder: Path) -> None:
    """Each run's drawn samples, and once for all arms the images that were evaluated."""
    samples, images = folder / "samples", folder / "images"
    for path in (samples, images):
        path.mkdir(exist_ok=True)
    wanted: set[Path] = set()
    for run, source in _evaluated(plan, store):
        own = samples / slug(plan, run.arm) / f"s{run.seed}"
        wanted |= _copy_new(source / "samples", own)
        wanted |= _copy_new(source / "images", images)
    for path in [*samples.rglob("*"), *images.rglob("*")]:
        if path.is_file() and path not in wanted:
            path.unlink()
    for path in sorted(samples.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _copy_new(source: Path, target: Path) -> set[Path]:
    """Copy pictures that are not there yet, and return where all of them lie."""
    made = set()
    for path in sorted(source.glob("*")):
        if path.suffix not in SHOWN:
            continue
        copy = target / path.name
        made.add(copy)
        if copy.is_file() and copy.read_bytes() == path.read_bytes():
            continue
        target.mkdir(parents=True, exist_ok=True)
        temporary = target / f".{path.name}.{os.getpid()}"
        shutil.copyfile(path, temporary)
        os.replace(temporary, copy)
    return made


def curve_points(store: Store, run: Run) -> list[tuple[str, int, float, str, float]]:
    """A run's learning curve: (stage, step, cumulative training FLOPs, name, value).

    Losses come from the histories of the arm's own stages, scores on the way from the evaluation's ``curve.jsonl``.
    Where a line does not tell its FLOPs, they follow from the stage's ledger in proportion to its steps.
    """
    points = []
    before = 0.0
    for stage in own_stages(run):
        key = run.stage_keys.get(stage)
        if key is None or not store.is_done(stage, key):
            continue
        ledger = store.read(stage, key, "ledger.json") or {}
        flops, steps = float(ledger.get("flops", 0.0)), float(ledger.get("steps", 0) or 1)
        for line in read_lines(store.folder(stage, key) / "history.jsonl"):
            step = int(line.pop("step"))
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


def _collect_curves(plan: Plan, store: Store, path: Path) -> None:
    import pyarrow as arrow

    rows = [(run.arm, run.seed, *point) for run in plan.runs for point in curve_points(store, run)]
    types = {
        "arm": arrow.string(),
        "seed": arrow.int64(),
        "stage": arrow.string(),
        "step": arrow.int64(),
        "flops": arrow.float64(),
        "name": arrow.string(),
        "value": arrow.float64(),
    }
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in types]
    arrays = [arrow.array(list(column), kind) for column, kind in zip(columns, types.values(), strict=True)]
    _write_parquet(arrow.table(dict(zip(types, arrays, strict=True))), path)
