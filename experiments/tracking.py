"""MLflow, filled from the store: experiment = study, one flat run per arm and seed, found again by a tag.

The store is the truth and MLflow an index of it: nothing is logged while stages train, so a tracking failure can lose
nothing and delay nothing. :func:`sync` may be called at any time, as often as one likes: it adds what is new. A run is
known by its tag ``lavit.run_key`` (its stage keys), so that syncing twice changes nothing, and a run whose config has
changed is a new run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.collect import study_folder
from experiments.metrics_table import run_metrics
from experiments.plan import Plan, Run
from experiments.status import run_state
from experiments.store import Store, read_json, sha256, write_atomic
from experiments.tracked_results import LAYOUT, write_report, write_study_run
from experiments.tracked_run import metric_name, write_run
from experiments.tracking_server import database, is_remote, open_client, tracking_uri
from experiments.views import describe, report_address, saved_views

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Synced", "database", "open_client", "run_key", "sync", "sync_or_say"]


@dataclass
class Synced:
    """What a sync did: MLflow run ids by (arm, seed), which of them are new, and the study's own run."""

    experiment_id: str
    runs: dict[tuple[str, int], str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    study_run: str = ""


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


def sync(plan: Plan, patient: bool = False) -> Synced:
    """Bring MLflow up to date with the store, for all finished and failed runs of a plan.

    Args:
        plan: the study.
        patient: wait for a slow server as long as MLflow does by default.

    Writes ``<runs>/<study>/mlflow.json`` with the run ids, for ``runs.json`` and the report's links.
    """
    uri = tracking_uri(plan)
    client = open_client(plan.runs_dir, uri, patient)
    store = Store(plan.runs_dir)
    synced = Synced(_experiment(client, plan, uri))
    keys = {(run.arm, run.seed): run_key(plan, run) for run in plan.runs}
    synced.study_run = write_study_run(client, synced.experiment_id, plan, keys)
    report = report_address(synced.experiment_id, synced.study_run)
    known = _known_runs(client, synced.experiment_id)
    for run in plan.runs:
        state = run_state(store, run)
        if state.status not in ("done", "failed"):
            continue
        key = keys[run.arm, run.seed]
        run_id, written = known.get(key, (None, ()))
        if run_id is None or written != (state.status, LAYOUT):
            if run_id is not None:
                client.delete_run(run_id)  # half written by a sync that was interrupted, or failed and now done
            run_id = write_run(client, synced.experiment_id, plan, run, key, state.status, state.error, report)
            synced.added.append(run_id)
        synced.runs[(run.arm, run.seed)] = run_id
    _write_views(client, plan, synced)
    folder = study_folder(plan)
    folder.mkdir(parents=True, exist_ok=True)
    body: dict[str, Any] = {
        "tracking_uri": uri,
        "experiment_id": synced.experiment_id,
        "study_run": synced.study_run,
        "runs": {f"{arm}|{seed}": run_id for (arm, seed), run_id in synced.runs.items()},
        "state": _state(plan, store),
    }
    noted = read_json(folder / "mlflow.json") or {}
    if noted.get("study_run") == synced.study_run:
        body["report"] = noted.get("report")
    body["report"] = _log_report(client, folder, body)
    if noted != body:
        write_atomic(folder / "mlflow.json", json.dumps(body, indent=1, ensure_ascii=False))
    return synced


def report_or_say(plan: Plan) -> None:
    """Log a study's report with its own run in MLflow, where it has changed since; where that fails, say so."""
    folder = study_folder(plan)
    noted = read_json(folder / "mlflow.json")
    if not isinstance(noted, dict) or noted.get("tracking_uri") != tracking_uri(plan) or not noted.get("study_run"):
        return
    page = folder / "report.html"
    if not page.is_file() or noted.get("report") == sha256(page):
        return
    try:
        client = open_client(plan.runs_dir, noted["tracking_uri"])
        noted["report"] = _log_report(client, folder, noted)
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "")
        print(f"the report was not logged to MLflow ({type(error).__name__}: {line[:200]})", file=sys.stderr)
        return
    write_atomic(folder / "mlflow.json", json.dumps(noted, indent=1, ensure_ascii=False))


def _log_report(client: MlflowClient, folder: Path, noted: dict[str, Any]) -> str | None:
    """Log the report, unless it is the one that was logged last, and return its digest."""
    page = folder / "report.html"
    if not page.is_file():
        return None
    digest = sha256(page)
    if noted.get("report") != digest:
        write_report(client, noted["study_run"], folder)
    return digest


def _state(plan: Plan, store: Store) -> str:
    """A digest of all that a sync would write: the runs, how each stands, and how the study is described."""
    runs = [(run_key(plan, run), run_state(store, run).status) for run in plan.runs]
    return hashlib.sha256(json.dumps([LAYOUT, runs, describe(plan), saved_views(plan, (), 0)]).encode()).hexdigest()[
        :16
    ]


def _unchanged(plan: Plan) -> Synced | None:
    """What the last sync noted, where nothing has changed since: saves the seconds that importing MLflow takes."""
    noted = read_json(study_folder(plan) / "mlflow.json")
    uri = tracking_uri(plan)
    if not isinstance(noted, dict) or (uri == database(plan.runs_dir) and not (plan.runs_dir / "mlflow.db").is_file()):
        return None
    if noted.get("tracking_uri") != uri or noted.get("state") != _state(plan, Store(plan.runs_dir)):
        return None
    runs = {(name.rpartition("|")[0], int(name.rpartition("|")[2])): run_id for name, run_id in noted["runs"].items()}
    return Synced(noted["experiment_id"], runs, study_run=noted["study_run"])


def run_key(plan: Plan, run: Run) -> str:
    """What makes a run this run: study, arm, seed and the content keys of its stages."""
    text = json.dumps([plan.study.name, run.arm, run.seed, run.stage_keys], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _experiment(client: MlflowClient, plan: Plan, uri: str) -> str:
    name = plan.study.name
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found is not None:
        return str(found.experiment_id)
    artifacts = (plan.runs_dir / "mlartifacts" / name).absolute().as_uri()
    location = None if is_remote(uri) else artifacts  # a server keeps artifacts where it was told to
    return str(client.create_experiment(name, artifact_location=location))


def _known_runs(client: MlflowClient, experiment_id: str) -> dict[str, tuple[str, tuple[str | None, ...]]]:
    """Run id and (state, layout) that it was written to its end with, by ``lavit.run_key``."""
    found: dict[str, tuple[str, tuple[str | None, ...]]] = {}
    token = None
    while True:
        page = client.search_runs([experiment_id], "tags.`lavit.kind` = 'run'", max_results=200, page_token=token)
        for run in page:
            tags = run.data.tags
            if "lavit.run_key" in tags:
                ends = (tags.get("lavit.synced"), tags.get("lavit.layout"))
                found[tags["lavit.run_key"]] = (str(run.info.run_id), ends)
        token = page.token
        if not token:
            return found


def _write_views(client: MlflowClient, plan: Plan, synced: Synced) -> None:
    """Description and saved views, as tags of the experiment; what already reads so is left alone."""
    experiment = client.get_experiment(synced.experiment_id)
    current = experiment.tags
    store = Store(plan.runs_dir)
    names = {metric_name(n) for run in plan.runs for n in run_metrics(store, run)}
    wanted = {
        "mlflow.note.content": describe(plan, report_address(synced.experiment_id, synced.study_run)),
        "mlflow.experimentKind": "custom_model_development",
        **saved_views(plan, sorted(names), _first_made_ms(plan, store)),
    }
    for name, value in wanted.items():
        if current.get(name) != value:
            client.set_experiment_tag(synced.experiment_id, name, value)


def _first_made_ms(plan: Plan, store: Store) -> int:
    """When the first stage of a study was finished: a date that a rebuilt database shows as well."""
    times = [float(body["finished"]) for identity in plan.jobs if (body := store.done(*identity))]
    return int(min(times, default=0.0) * 1000)
