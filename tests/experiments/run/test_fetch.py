"""A report needs no store: what MLflow has of a study gives the same files, and is asked for once."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fake_study import CONF, plan_tiny

from experiments.collect import collect, write_runs
from experiments.driver import run_jobs
from experiments.errors import LavitError
from experiments.fetch import fetch
from experiments.launch import HerePool
from experiments.results_source import study_results
from experiments.tracking import open_client, sync
from experiments.tracking_server import database

UNTIL = "study.until=tokenizer"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tracked study of two arms and two seeds, one of whose runs failed, and its folder; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        plan = plan_tiny(tmp_path_factory.mktemp("fetch") / "runs", UNTIL)
        bad = plan.runs[-1].stage_keys["inspect"]
        job = plan.jobs["inspect", bad]
        job.config = {"work": {**job.config["work"], "how": "raise"}}
        assert len(run_jobs(plan, HerePool(), quiet=True).failures) == 1
    collect(plan)
    sync(plan)
    write_runs(plan)
    return plan


@pytest.fixture(autouse=True)
def _one_figure(monkeypatch):
    """These tests are not about figures: the others are drawn from the same results."""
    from reports import report

    monkeypatch.setattr(report, "FIGURES", report.FIGURES[:1])


@pytest.fixture
def downloads(monkeypatch):
    """Every download from here on, as (run id, artifact)."""
    from mlflow import artifacts

    asked = []
    original = artifacts.download_artifacts

    def counted(**request):
        run_id, _, part = request["artifact_uri"].rsplit("/", 2)
        asked.append((run_id.rsplit("/", 1)[-1], part))
        return original(**request)

    monkeypatch.setattr(artifacts, "download_artifacts", counted)
    return asked


def files(folder):
    skip = ("mlflow.json", "report-error.txt")
    kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in skip]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_a_folder_from_mlflow_is_the_collected_one_and_so_is_its_report(made, tmp_path):
    import reports

    found = fetch("tiny", tmp_path, database(made.runs_dir))
    assert (found.runs, found.new) == (4, 4)
    here = files(made.runs_dir / "tiny")
    assert {path.split("/")[0] for path in here} >= {"study.yaml", "runs.json", "curves.parquet", "samples", "images"}
    assert files(found.folder) == here
    reports.build(made.runs_dir / "tiny", tmp_path / "here")
    reports.build(found.folder, tmp_path / "there")
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert len(files(tmp_path / "here")) > 10


def test_what_was_fetched_once_is_not_asked_for_again(made, tmp_path, downloads):
    with closing(sqlite3.connect(made.runs_dir / "mlflow.db")) as source:
        source.execute("VACUUM INTO ?", [str(tmp_path / "tracking.db")])
    uri = f"sqlite:///{tmp_path / 'tracking.db'}"
    runs = tmp_path / "runs"
    client = open_client(made.runs_dir, uri)
    tracked = json.loads((made.runs_dir / "tiny" / "mlflow.json").read_text())
    last = tracked["runs"]["default|1"]
    client.delete_run(last)
    assert fetch("tiny", runs, uri).runs == 3
    assert sorted(path for _, path in downloads) == ["images", "records", "records", "records", "study"]
    assert not (runs / "tiny" / "records" / "default-s1.parquet").exists()
    downloads.clear()
    assert fetch("tiny", runs, uri).new == 0
    assert downloads == []
    client.restore_run(last)
    assert fetch("tiny", runs, uri).new == 1
    assert downloads == [(last, "records")], "one run more is one download more"
    client.delete_run(tracked["runs"]["default|0"])
    fetch("tiny", runs, uri)
    assert sorted(path.name for path in (runs / "tiny" / "records").iterdir()) == [
        "default-s1.parquet",
        "tokens-pooled-s0.parquet",
    ]
    assert len(downloads) == 1
    cached = {path.name for path in (runs / ".cache" / "mlflow").glob("*/*/*")}
    assert tracked["runs"]["default|0"] not in cached, "a deleted run leaves nothing"


def test_an_interrupted_fetch_leaves_no_half_file_and_the_next_one_goes_on(made, tmp_path, monkeypatch):
    from mlflow import artifacts

    original = artifacts.download_artifacts
    done = []

    def torn(**request):
        if len(done) == 3:
            (Path(request["dst_path"]) / "half.parquet").write_bytes(b"PAR1")
            raise KeyboardInterrupt
        done.append(request)
        return original(**request)

    monkeypatch.setattr("experiments.fetch.THREADS", 1)
    monkeypatch.setattr(artifacts, "download_artifacts", torn)
    uri = database(made.runs_dir)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", tmp_path, uri)
    assert not (tmp_path / "tiny").exists()
    assert not list(tmp_path.rglob("half.parquet"))
    monkeypatch.setattr(artifacts, "download_artifacts", original)
    assert fetch("tiny", tmp_path, uri).new == 2
    assert files(tmp_path / "tiny") == files(made.runs_dir / "tiny")


def test_an_artifact_that_was_changed_on_the_server_is_refused(made, tmp_path):
    runs = Path(shutil.copytree(made.runs_dir, tmp_path / "runs"))
    plan = plan_tiny(runs, UNTIL)
    (runs / "mlflow.db").unlink()
    shutil.rmtree(runs / "mlartifacts")
    synced = sync(plan)
    path = next((runs / "mlartifacts").rglob("default-s0.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LavitError, match=r"default-s0.parquet of MLflow run .* is not what"):
        fetch("tiny", tmp_path / "reader", database(runs))
    assert synced.runs["default", 0] in str(path)


def test_the_report_takes_the_store_where_it_has_the_study_and_mlflow_where_it_has_not(
    made, tmp_path, capsys, monkeypatch
):
    import reports
    from experiments.cli import main

    runs = Path(shutil.copytree(made.runs_dir, tmp_path / "runs"))
    command = ["report", "--conf", str(CONF), "study=tiny", f"runs={runs}", UNTIL]
    assert main(command) == 0
    assert "from MLflow" not in capsys.readouterr().out
    first = (runs / "tiny" / "report.json").read_bytes()
    shutil.rmtree(runs / "store")
    shutil.rmtree(runs / "tiny")
    assert main(command) == 0
    told = capsys.readouterr().out
    assert f"from MLflow at {database(runs)}: 4 runs, 4 fetched now" in told
    assert "their code differ" not in told
    assert (runs / "tiny" / "report.json").read_bytes() == first
    built = reports.build(runs / "tiny")
    monkeypatch.setattr(reports, "build", lambda *_, **__: built)  # from here on it is about where from
    assert main([*command, "work.steps=3"]) == 0
    assert "their settings or their code differ from those here" in capsys.readouterr().out
    assert main(["report", "--conf", str(CONF), "--from-mlflow", "study=tiny", f"runs={runs}"]) == 0
    assert main(["report", "--conf", str(CONF), "--from-mlflow", "study=tinny", f"runs={runs}"]) == 2
    assert "has no study 'tinny'" in capsys.readouterr().err


def test_a_server_that_is_away_is_named_with_what_to_do(made, tmp_path, capsys):
    from experiments.cli import main

    away = "tracking.uri=http://me:secret@127.0.0.1:9/mlflow"
    assert main(["report", "--conf", str(CONF), "study=tiny", f"runs={tmp_path}", away]) == 2
    told = capsys.readouterr().err
    assert "no connection to the tracking server 127.0.0.1:9 (http://127.0.0.1:9/mlflow)" in told
    assert "tracking.uri" in told
    assert "secret" not in told
    assert main(["report", "--conf", str(CONF), "--from-mlflow", "study=tiny", f"runs={tmp_path}"]) == 2
    assert f"there is no MLflow database in {tmp_path}" in capsys.readouterr().err


def test_a_study_that_an_older_version_tracked_says_how_to_bring_it_up_to_date(made, tmp_path):
    uri = f"sqlite:///{tmp_path / 'old.db'}"
    client = open_client(tmp_path, uri)
    experiment = client.create_experiment("tiny", artifact_location=(tmp_path / "artifacts").as_uri())
    client.create_run(experiment, tags={"lavit.study": "tiny", "lavit.kind": "run", "lavit.synced": "done"})
    with pytest.raises(LavitError, match="lavit sync study=tiny"):
        fetch("tiny", tmp_path / "runs", uri)
    assert study_results(plan_tiny(made.runs_dir, UNTIL)) == (made.runs_dir / "tiny", False)
