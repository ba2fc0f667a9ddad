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
from experiments.plan import Plan, Run
from experiments.run_results import (
    curves_table,
    finished_s,
    pictures,
    records_folder,
    records_table,
    run_entry,
    write_parquet,
)
from experiments.store import Store, read_json, write_atomic


def study_folder(plan: Plan) -> Path:
    """``<runs>/<study>``."""
    return plan.runs_dir / plan.study.name


def slug(plan: Plan, arm: str) -> str:
    """An arm's name as a file name."""
    return plan.arms[arm].slug


def collect(plan: Plan) -> Path:
    """Write the study folder and return it."""
    folder = study_folder(plan)
    store = Store(plan.runs_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "study.yaml", document_text(plan))
    _collect_records(plan, store, folder / "records")
    _collect_pictures(plan, store, folder)
    write_parquet(curves_table(store, plan.runs), folder / "curves.parquet")
    write_runs(plan)
    return folder


def write_runs(plan: Plan) -> Path:
    """Write ``runs.json``: each run's state, keys, numbers and costs; written again when MLflow's run ids are known."""
    store = Store(plan.runs_dir)
    folder = study_folder(plan)
    tracked = (read_json(folder / "mlflow.json") or {}).get("runs", {})
    runs = [run_entry(store, run) | {"mlflow_run_id": tracked.get(f"{run.arm}|{run.seed}")} for run in plan.runs]
    body = {**study_header(plan, store), "runs": runs}
    write_atomic(folder / "runs.json", dump(body))
    return folder / "runs.json"


def dump(body: dict[str, Any]) -> str:
    """The text of a ``runs.json``."""
    return json.dumps(body, indent=1, ensure_ascii=False, default=str)


def document_text(plan: Plan) -> str:
    """The text of a ``study.yaml``."""
    document = yaml.safe_dump(plan.study_document(), sort_keys=False, allow_unicode=True, width=110)
    return "# What was asked, as the report reads it.\n" + document


def study_header(plan: Plan, store: Store) -> dict[str, Any]:
    """All of ``runs.json`` but the runs."""
    git = git_state()
    return {
        "study": plan.study.name,
        "git": {"commit": git["commit"], "dirty": git["dirty"]},
        "environment": environment(),
        "created": finished_s(store, plan.runs),  # when the last stage was finished: the same store gives the same file
        "plan": _with_launch(plan, store),
        "confounds": find_confounds(plan),
        "varied": sorted({path for run in plan.runs for path in allowed(plan, run)}),
        "frozen": frozen_state(plan),  # what differs from the plan that was written down beforehand
    }


def _with_launch(plan: Plan, store: Store) -> dict[str, Any]:
    """The plan, and beside each job what its launch expected of its time: by now finished stages have told more."""
    document = plan.to_dict()
    for job in document["jobs"]:
        planned = store.planned(job["stage"], job["key"])
        job["seconds_at_launch"] = planned.get("seconds")
        job["seconds_at_launch_from"] = planned.get("seconds_from", "")
    return document


def _evaluated(plan: Plan, store: Store) -> Iterable[tuple[Run, Path]]:
    """Runs whose records are finished, with their folder."""
    for run in plan.runs:
        if (folder := records_folder(store, run)) is not None:
            yield run, folder


def record_name(plan: Plan, run: Run) -> str:
    """``<arm-slug>-s<seed>.parquet``."""
    return f"{slug(plan, run.arm)}-s{run.seed}.parquet"


def _collect_records(plan: Plan, store: Store, folder: Path) -> None:
    """One file per run, with the columns study, arm and seed in front; files of runs that are not wanted go."""
    folder.mkdir(exist_ok=True)
    wanted = set()
    for run, source in _evaluated(plan, store):
        if not (source / "records.parquet").is_file():
            continue
        name = record_name(plan, run)
        wanted.add(name)
        write_parquet(records_table(plan, run, source), folder / name)
    for path in folder.glob("*.parquet"):
        if path.name not in wanted:
            path.unlink()


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
    for path in pictures(source):
        copy = target / path.name
        made.add(copy)
        if copy.is_file() and copy.read_bytes() == path.read_bytes():
            continue
        target.mkdir(parents=True, exist_ok=True)
        temporary = target / f".{path.name}.{os.getpid()}"
        shutil.copyfile(path, temporary)
        os.replace(temporary, copy)
    return made
