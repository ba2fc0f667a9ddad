"""Where a study's results come from: the store on this machine, or, where it holds none of them, MLflow."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.collect import collect
from experiments.errors import LavitError
from experiments.fetch import Fetched, fetch
from experiments.plan import Plan
from experiments.run_results import records_folder
from experiments.store import Store
from experiments.tracking import run_key
from experiments.tracking_server import database, is_remote, tracking_uri


def study_results(plan: Plan) -> tuple[Path, bool]:
    """Bring a plan's study folder up to date; return it, and whether it was fetched.

    The store is asked first. A study of which it has no finished run was trained elsewhere, or the store was thrown
    away: what MLflow has of it is fetched, and that is told.

    Raises:
        LavitError: the store has none of it and the tracking server cannot be asked.
    """
    uri = tracking_uri(plan)
    if _in_store(plan) or plan.records_stage is None:
        return collect(plan), False
    if not is_remote(uri) and uri == database(plan.runs_dir) and not (plan.runs_dir / "mlflow.db").is_file():
        return collect(plan), False
    try:
        found = fetch(plan.study.name, plan.runs_dir, uri)
    except LavitError as error:
        if is_remote(uri):
            raise
        print(f"no finished run of {plan.study.name} is in the store, and {error}", file=sys.stderr)
        return collect(plan), False
    tell(found, plan)
    return found.folder, True


def tell(found: Fetched, plan: Plan | None = None) -> None:
    """Say where the results are from, and where they are other runs than the settings here would make."""
    new = f"{found.new} fetched now" if found.new else "all of them known here already"
    print(f"from MLflow at {found.uri}: {found.runs} runs, {new}")
    if plan is not None and not found.keys & {run_key(plan, run) for run in plan.runs}:
        print("  their settings or their code differ from those here: `lavit plan` shows what would run now")


def _in_store(plan: Plan) -> bool:
    store = Store(plan.runs_dir)
    return any(records_folder(store, run) is not None for run in plan.runs)
