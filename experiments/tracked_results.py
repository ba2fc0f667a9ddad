"""What a report needs, as artifacts in MLflow: of each run in its folder ``records``, of the study in a run of its own.

| run | artifact | what |
|---|---|---|
| of an arm and a seed | ``records/<arm>-s<seed>.parquet`` | its records, as the study folder has them |
| | ``records/run.json`` | its entry of ``runs.json`` |
| | ``records/curves.parquet`` | its learning curve, every point |
| | ``records/samples.zip`` | what it drew |
| ``study`` | ``study/study.yaml``, ``study/runs.json`` | what was asked; plan, environment, the runs by key |
| | ``images/images.zip`` | the evaluated images, once for all arms |
| | ``report/`` | the last report: page, tables, figures |

The tag ``lavit.files`` lists those that a report is made from with their digests, so that a reader knows without asking
what it has and can prove what it got (``experiments/fetch.py``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.collect import document_text, dump, record_name, slug, study_header
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
from experiments.store import Store, sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient

LAYOUT = "2"  # of what is described above; runs of another layout are written again by the next sync
FILES = "lavit.files"
RECORDS, STUDY, IMAGES, REPORT = "records", "study", "images", "report"


def write_run_results(client: MlflowClient, run_id: str, plan: Plan, run: Run) -> None:
    """Log what a report needs of one run; the same store gives the same bytes."""
    store = Store(plan.runs_dir)
    source = records_folder(store, run)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.json").write_text(dump(run_entry(store, run)), encoding="utf-8")
        curves = curves_table(store, [run])
        if curves.num_rows:
            write_parquet(curves, folder / "curves.parquet")
        if source is not None and (source / "records.parquet").is_file():
            write_parquet(records_table(plan, run, source), folder / record_name(plan, run))
        if source is not None and (drawn := pictures(source / "samples")):
            _zip(drawn, folder / "samples.zip")
        client.log_artifacts(run_id, str(folder), RECORDS)
        client.set_tag(run_id, FILES, json.dumps(_digests(folder, RECORDS)))


def write_study_run(client: MlflowClient, experiment_id: str, plan: Plan, keys: dict[tuple[str, int], str]) -> str:
    """Bring the study's own run up to date and return its id: made once, and each part logged only where it changed.

    Args:
        client, experiment_id: where to.
        plan: the study.
        keys: the ``lavit.run_key`` of each run by arm and seed.
    """
    store = Store(plan.runs_dir)
    run_id, known = _study_run(client, experiment_id, plan)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (STUDY, IMAGES):
            (folder / part).mkdir()
        (folder / STUDY / "study.yaml").write_text(document_text(plan), encoding="utf-8")
        runs = [_listed(store, plan, run, keys[run.arm, run.seed]) for run in plan.runs]
        body = {**study_header(plan, store), "runs": runs}
        (folder / STUDY / "runs.json").write_text(dump(body), encoding="utf-8")
        if images := _images(store, plan):
            _zip(images, folder / IMAGES / "images.zip")
        files = _digests(folder / STUDY, STUDY) | _digests(folder / IMAGES, IMAGES)
        for part in (STUDY, IMAGES):
            own = {path: digest for path, digest in files.items() if path.startswith(f"{part}/")}
            if own and any(known.get(path) != digest for path, digest in own.items()):
                client.log_artifacts(run_id, str(folder / part), part)
    if files != known:
        client.set_tag(run_id, FILES, json.dumps(files))
    return run_id


def write_report(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log a report's page, tables and figures with the study's run."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / REPORT
        copy.mkdir()
        for part in ("tables", "figures"):
            if (folder / part).is_dir():
                shutil.copytree(folder / part, copy / part)
        for part in ("report.html", "report.json"):
            if (folder / part).is_file():
                shutil.copyfile(folder / part, copy / part)
        client.log_artifacts(run_id, str(copy), REPORT)


def _study_run(client: MlflowClient, experiment_id: str, plan: Plan) -> tuple[str, dict[str, str]]:
    """The id of the study's own run, made where there is none, and the digests of what it has."""
    found = client.search_runs([experiment_id], "tags.`lavit.kind` = 'study'", max_results=1)
    if found:
        return str(found[0].info.run_id), json.loads(found[0].data.tags.get(FILES, "{}"))
    tags = {"lavit.kind": STUDY, "lavit.study": plan.study.name}
    at = int(1000 * (finished_s(Store(plan.runs_dir), plan.runs) or time.time()))
    created = client.create_run(experiment_id, start_time=at, run_name=STUDY, tags=tags)
    client.set_terminated(created.info.run_id, "FINISHED", end_time=at)
    return str(created.info.run_id), {}


def _listed(store: Store, plan: Plan, run: Run, key: str) -> dict[str, object]:
    """A run as the study's document lists it: by its key where it is tracked, whole where it is not finished."""
    entry = run_entry(store, run)
    listed: dict[str, object] = {"arm": run.arm, "seed": run.seed, "slug": slug(plan, run.arm), "run_key": key}
    return listed if entry["status"] in ("done", "failed") else listed | {"entry": entry}


def _images(store: Store, plan: Plan) -> list[Path]:
    """The evaluated images of all runs, each name once."""
    found: dict[str, Path] = {}
    for run in plan.runs:
        if (folder := records_folder(store, run)) is not None:
            found |= {path.name: path for path in pictures(folder / "images")}
    return [found[name] for name in sorted(found)]


def _zip(paths: list[Path], target: Path) -> None:
    """Pictures as one uncompressed archive that names no time: the same pictures give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())


def _digests(folder: Path, prefix: str) -> dict[str, str]:
    return {f"{prefix}/{path.name}": sha256(path)[:16] for path in sorted(folder.iterdir())}


def key_of(files: dict[str, str]) -> str:
    """One digest of several files'."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
