"""MLflow, filled from the store: experiment = study, one flat run per arm and seed, found again by a tag.

The store is the truth and MLflow an index of it: nothing is logged while stages train, so a tracking failure can lose
nothing and delay nothing. :func:`sync` may be called at any time, as often as one likes: it adds what is new. A run is
known by its tag ``lavit.run_key`` (its stage keys), so that syncing twice changes nothing, and a run whose config has
changed is a new run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.collect import curve_points, own_stages, records_folder, slug, study_folder
from experiments.environment import environment, git_state, requirements_text
from experiments.metrics_table import run_metrics
from experiments.plan import Plan, Run
from experiments.status import run_state
from experiments.store import Store, read_json, write_atomic
from experiments.views import describe, saved_views

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND = "run"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
BATCH = 1000  # metrics in one call: MLflow's limit
#: (metric, name in the ledger, unit): what training the arm cost, summed over its own stages.
COSTS = (
    ("cost/train_tflop", "flops", 1e12),
    ("cost/examples_understanding", "examples_understanding", 1.0),
    ("cost/examples_generation", "examples_generation", 1.0),
)
CURVE_POINTS = 200  # points of one history; the whole curve is in curves.parquet


@dataclass
class Synced:
    """What a sync did: MLflow run ids by (arm, seed), and which of them are new."""

    experiment_id: str
    runs: dict[tuple[str, int], str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)


def database(runs: Path) -> str:
    """The tracking URI: always sqlite, always absolute (a relative one would depend on who opens it)."""
    return f"sqlite:///{(runs / 'mlflow.db').absolute()}"


def quieten() -> None:
    """No telemetry, no chatter; to be called before mlflow is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def open_client(runs: Path) -> MlflowClient:
    """A client on ``<runs>/mlflow.db``; the first call makes the database and lets readers beside a writer (WAL)."""
    quieten()
    from mlflow import MlflowClient

    path = runs / "mlflow.db"
    new = not path.exists()
    client = MlflowClient(database(runs))
    if new:
        client.search_experiments(max_results=1)  # runs the migrations, here and once
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    return client


def sync_or_say(plan: Plan) -> Synced | None:
    """Sync, and where MLflow fails say so in one line: a study never fails because of its tracking."""
    try:
        if (known := _unchanged(plan)) is not None:
            return known
        synced = sync(plan)
    except Exception as error:
        command = " ".join(["lavit sync", *plan.overrides])
        line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        print(
            f"MLflow was not updated ({type(error).__name__}: {line[:200]}). Nothing is lost: the results are in "
            f"{study_folder(plan)}; `{command}` fills the gap.",
            file=sys.stderr,
        )
        return None
    return synced


def sync(plan: Plan) -> Synced:
    """Bring MLflow up to date with the store, for all finished and failed runs of a plan.

    Writes ``<runs>/<study>/mlflow.json`` with the run ids, for ``runs.json`` and the report's links.
    """
    client = open_client(plan.runs_dir)
    store = Store(plan.runs_dir)
    synced = Synced(_experiment(client, plan))
    known = _known_runs(client, synced.experiment_id)
    for run in plan.runs:
        state = run_state(store, run)
        if state.status not in ("done", "failed"):
            continue
        key = run_key(plan, run)
        if (run_id := known.get(key)) is None or not known_complete(client, run_id, state.status):
            if run_id is not None:
                client.delete_run(run_id)  # half written by a sync that was interrupted, or failed and now done
            run_id = _write_run(client, synced.experiment_id, plan, store, run, key, state.status, state.error)
            synced.added.append(run_id)
        synced.runs[(run.arm, run.seed)] = run_id
    _write_views(client, plan, synced)
    folder = study_folder(plan)
    folder.mkdir(parents=True, exist_ok=True)
    body = {
        "tracking_uri": database(plan.runs_dir),
        "experiment_id": synced.experiment_id,
        "runs": {f"{arm}|{seed}": run_id for (arm, seed), run_id in synced.runs.items()},
        "state": _state(plan, store),
    }
    if read_json(folder / "mlflow.json") != body:
        write_atomic(folder / "mlflow.json", json.dumps(body, indent=1, ensure_ascii=False))
    return synced


def _state(plan: Plan, store: Store) -> str:
    """A digest of all that a sync would write: the runs, how each stands, and how the study is described."""
    runs = [(run_key(plan, run), run_state(store, run).status) for run in plan.runs]
    return hashlib.sha256(json.dumps([runs, describe(plan), saved_views(plan, (), 0)]).encode()).hexdigest()[:16]


def _unchanged(plan: Plan) -> Synced | None:
    """What the last sync noted, where nothing has changed since: saves the seconds that importing MLflow takes."""
    noted = read_json(study_folder(plan) / "mlflow.json")
    if not isinstance(noted, dict) or not (plan.runs_dir / "mlflow.db").is_file():
        return None
    if noted.get("tracking_uri") != database(plan.runs_dir) or noted.get("state") != _state(plan, Store(plan.runs_dir)):
        return None
    runs = {(name.rpartition("|")[0], int(name.rpartition("|")[2])): run_id for name, run_id in noted["runs"].items()}
    return Synced(noted["experiment_id"], runs)


def run_key(plan: Plan, run: Run) -> str:
    """What makes a run this run: study, arm, seed and the content keys of its stages."""
    text = json.dumps([plan.study.name, run.arm, run.seed, run.stage_keys], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _experiment(client: MlflowClient, plan: Plan) -> str:
    name = plan.study.name
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found is not None:
        return str(found.experiment_id)
    artifacts = (plan.runs_dir / "mlartifacts" / name).absolute()
    return str(client.create_experiment(name, artifact_location=artifacts.as_uri()))


def _known_runs(client: MlflowClient, experiment_id: str) -> dict[str, str]:
    """Run ids by their ``lavit.run_key``."""
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_runs([experiment_id], "tags.`lavit.kind` = 'run'", max_results=1000, page_token=token)
        found |= {r.data.tags["lavit.run_key"]: r.info.run_id for r in page if "lavit.run_key" in r.data.tags}
        token = page.token
        if not token:
            return found


def known_complete(client: MlflowClient, run_id: str, status: str) -> bool:
    """Whether an MLflow run was written to its end and with the state that the store has now."""
    tags = client.get_run(run_id).data.tags
    return tags.get("lavit.synced") == status


def _write_run(
    client: MlflowClient,
    experiment_id: str,
    plan: Plan,
    store: Store,
    run: Run,
    key: str,
    status: str,
    error: dict[str, Any] | None,
) -> str:
    """One MLflow run; the tag ``lavit.synced`` comes last, so that an interrupted one is known and written anew."""
    from mlflow.entities import Param, RunTag

    times = [body for stage, k in run.stage_keys.items() if (body := store.done(stage, k))]
    end = max((body["finished"] for body in times), default=time.time())
    start = end - sum(body["wall_s"] for body in times)  # shared stages ran long before: show the work, not the wait
    created = client.create_run(experiment_id, start_time=int(start * 1000), run_name=run.name)
    run_id = str(created.info.run_id)
    tags = _tags(plan, run, key, error)
    params = {f"axis.{axis}": level for axis, level in run.levels.items()} | {"seed": str(run.seed)}
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, str(value)[:4900]) for name, value in tags.items()],
    )
    _write_metrics(client, store, run, run_id)
    _write_artifacts(client, store, plan, run, run_id, error)
    client.set_tag(run_id, "lavit.synced", status)
    client.set_terminated(run_id, "FINISHED" if status == "done" else "FAILED", end_time=int(end * 1000))
    return run_id


def _tags(plan: Plan, run: Run, key: str, error: dict[str, Any] | None) -> dict[str, Any]:
    git = git_state()
    arm_number = list(plan.arms).index(run.arm)
    tags = {
        "lavit.study": plan.study.name,
        "lavit.kind": KIND,
        "lavit.arm": run.arm,
        "lavit.seed": run.seed,
        "lavit.default": str(arm_number == 0).lower(),
        "lavit.run_key": key,
        "lavit.command": run.command,
        "mlflow.runColor": PALETTE[arm_number % len(PALETTE)],
        **{f"lavit.stage.{stage}": k for stage, k in run.stage_keys.items()},
    }
    if git["commit"]:
        tags |= {"mlflow.source.git.commit": git["commit"], "lavit.git.dirty": str(git["dirty"]).lower()}
    if error:
        tags |= {"lavit.error": f"{error['stage']}: {error['class']}: {error['message']}"}
    return tags


#: Okabe and Ito's colours, readable with every kind of colour vision; one per arm, in every chart of the UI.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def metric_name(name: str) -> str:
    """A name that MLflow accepts: ``@`` (a control) becomes `` - ``."""
    return name.replace("@", " - ").replace("(", "").replace(")", "")


def _write_metrics(client: MlflowClient, store: Store, run: Run, run_id: str) -> None:
    """Final numbers once, rounded (the grid prints every digit), and losses as thinned histories."""
    from mlflow.entities import Metric

    end = int(time.time() * 1000)
    metrics = []
    for name, value in run_metrics(store, run).items():
        if math.isfinite(value):
            metrics.append(Metric(metric_name(name), float(f"{value:.5g}"), end, 0))
    ledgers = [store.read(stage, run.stage_keys[stage], "ledger.json") or {} for stage in own_stages(run)]
    for name, ledger_name, unit in COSTS:
        total = sum(float(ledger.get(ledger_name, 0.0)) for ledger in ledgers) / unit
        if total:
            metrics.append(Metric(name, float(f"{total:.4g}"), end, 0))
    wall = sum(body["wall_s"] for s, k in run.stage_keys.items() if (body := store.done(s, k)))
    metrics.append(Metric("cost/wall_s", round(wall, 1), end, 0))
    metrics += [Metric(name, value, end, step) for name, value, step in _histories(store, run)]
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + BATCH])


def _histories(store: Store, run: Run) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of every curve; steps of a later stage (the cool-down) go on where the one before it ends."""
    offset: dict[str, int] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    total = 0
    for stage in own_stages(run):
        offset[stage] = total
        total += int((store.read(stage, run.stage_keys[stage], "ledger.json") or {}).get("steps", 0))
    for stage, step, _, name, value in curve_points(store, run):
        if math.isfinite(value):
            curves.setdefault(name, []).append((step + offset.get(stage, 0), value))
    for name, points in curves.items():
        stride = max(1, math.ceil(len(points) / CURVE_POINTS))
        kept = points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]
        for step, value in kept:
            yield metric_name(name), float(f"{value:.6g}"), step


def _write_artifacts(
    client: MlflowClient, store: Store, plan: Plan, run: Run, run_id: str, error: dict[str, Any] | None
) -> None:
    git = git_state()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=110)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        (folder / "requirements.txt").write_text(requirements_text(), encoding="utf-8")
        machine = {key: value for key, value in environment().items() if key != "packages"}
        state = {"git": {"commit": git["commit"], "dirty": git["dirty"]}, "machine": machine, "command": run.command}
        (folder / "environment.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
        if git["diff"]:
            (folder / "uncommitted.diff").write_text(git["diff"], encoding="utf-8")
        if error:
            (folder / "error.json").write_text(json.dumps(error, indent=1), encoding="utf-8")
        client.log_artifacts(run_id, str(folder))
    records = study_folder(plan) / "records" / f"{slug(plan, run.arm)}-s{run.seed}.parquet"
    own = records_folder(store, run)
    if records.is_file():
        client.log_artifact(run_id, str(records), "records")
    elif own is not None and (own / "records.parquet").is_file():
        client.log_artifact(run_id, str(own / "records.parquet"), "records")


def _write_views(client: MlflowClient, plan: Plan, synced: Synced) -> None:
    """Description and saved views, as tags of the experiment; what already reads so is left alone."""
    experiment = client.get_experiment(synced.experiment_id)
    current = experiment.tags
    store = Store(plan.runs_dir)
    names = {metric_name(n) for run in plan.runs for n in run_metrics(store, run)}
    wanted = {
        "mlflow.note.content": describe(plan),
        "mlflow.experimentKind": "custom_model_development",
        **saved_views(plan, sorted(names), int(experiment.creation_time or 0)),
    }
    for name, value in wanted.items():
        if current.get(name) != value:
            client.set_experiment_tag(synced.experiment_id, name, value)
