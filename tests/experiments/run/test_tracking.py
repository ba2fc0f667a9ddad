"""Tracking loses nothing: MLflow is written from the store, again from nothing, and behind a server that was away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from fake_study import CONF, plan_tiny

from experiments.collect import collect
from experiments.driver import finish, run_jobs
from experiments.fetch import fetch
from experiments.launch import HerePool
from experiments.store import read_json
from experiments.tracking import open_client, sync, sync_or_say
from experiments.tracking_server import QUIET

UNTIL = "study.until=tokenizer"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collected study of two arms and two seeds, one of whose runs failed; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        plan = plan_tiny(tmp_path_factory.mktemp("tracking") / "runs", UNTIL)
        bad = plan.runs[-1].stage_keys["inspect"]
        job = plan.jobs["inspect", bad]
        job.config = {"work": {**job.config["work"], "how": "raise"}}
        launch = run_jobs(plan, HerePool(), quiet=True)
    assert len(launch.failures) == 1
    collect(plan)
    return plan


@pytest.fixture
def runs(made, tmp_path):
    return Path(shutil.copytree(made.runs_dir, tmp_path / "runs"))


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def study_run(client, experiment_id):
    """The study's own run, of which there is one."""
    (found,) = client.search_runs([experiment_id], "tags.`lavit.kind` = 'study'")
    return found


def content(client, experiment_id, folder):
    """All that MLflow holds of every run, by its key: no ids, nothing that MLflow makes up itself."""
    found = {}
    for run in client.search_runs([experiment_id], "tags.`lavit.kind` = 'run'"):
        histories = {
            name: [(m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        address = f"#/experiments/{experiment_id}/runs/{study_run(client, experiment_id).info.run_id}/"
        tags = {name: value.replace(address, "#/") for name, value in run.data.tags.items()}
        tags.pop("mlflow.log-model.history", None)
        artifacts = {}
        for item in [*client.list_artifacts(run.info.run_id), *client.list_artifacts(run.info.run_id, "records")]:
            if not item.is_dir:
                path = client.download_artifacts(run.info.run_id, item.path, str(folder))
                artifacts[item.path] = Path(path).read_bytes()
        found[run.data.tags["lavit.run_key"]] = {
            "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": tags,
            "histories": histories,
            "artifacts": artifacts,
        }
    return found


def test_mlflow_rebuilt_from_nothing_equals_the_first(runs, tmp_path):
    command = [
        sys.executable,
        "-m",
        "experiments.cli",
        "sync",
        "--conf",
        str(CONF),
        "study=tiny",
        f"runs={runs}",
        UNTIL,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "4 runs added" in done.stdout
    (runs / "mlflow.db").rename(tmp_path / "first.db")
    (tmp_path / "copies").mkdir()
    client = open_client(runs, f"sqlite:///{tmp_path / 'first.db'}")
    experiment = client.get_experiment_by_name("tiny")
    first = content(client, experiment.experiment_id, tmp_path / "copies")
    synced = sync(plan_tiny(runs, UNTIL))
    assert len(synced.added) == 4
    client = open_client(runs)
    second = content(client, synced.experiment_id, tmp_path / "copies")
    assert len(first) == 4
    assert first.keys() == second.keys()
    for key, run in first.items():
        for part, held in run.items():
            assert held == second[key][part], f"{part} of {key}"
    tags = [dict(e.tags) for e in (client.get_experiment_by_name("tiny"), experiment)]
    notes = [own.pop("mlflow.note.content").partition("\n[Report](") for own in tags]
    assert notes[0][0] == notes[1][0]
    assert tags[0] == tags[1]
    statuses = [run["info"][1] for run in first.values()]
    assert sorted(statuses) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    done = next(run for run in first.values() if run["info"][1] == "FINISHED")
    assert done["tags"]["lavit.fingerprint.caption"] == "3f2a9c000000 test, 6 images, CIDEr-D, held-out"
    assert done["tags"]["lavit.absent"] == "vqa/mood: nobody asked"
    times = [at for _, at, _ in done["histories"]["train/loss"]]
    assert times == sorted(times)
    assert done["info"][2] <= times[0] <= times[-1] <= done["info"][3], "the curve lies within its run's own time"


def test_the_report_lies_with_the_study_linked_from_every_run_and_is_logged_when_it_changed(runs, monkeypatch):
    from experiments import tracking

    plan = plan_tiny(runs, UNTIL)
    page = runs / "tiny" / "report.html"
    (runs / "tiny" / "tables").mkdir(exist_ok=True)
    (runs / "tiny" / "tables" / "main.tex").write_text("a table")
    page.write_text("first")
    synced = sync(plan)
    client = open_client(runs)
    own = study_run(client, synced.experiment_id).info.run_id
    assert own == synced.study_run
    link = f"#/experiments/{synced.experiment_id}/runs/{own}/artifacts/report/report.html"
    assert link in client.get_experiment(synced.experiment_id).tags["mlflow.note.content"]
    for run_id in synced.runs.values():
        note = client.get_run(run_id).data.tags["mlflow.note.content"]
        assert link in note
        assert "lavit train" in note
    place = runs / "mlartifacts" / "tiny" / own / "artifacts" / "report"
    assert (place / "report.html").read_text() == "first"
    assert (place / "tables" / "main.tex").read_text() == "a table"
    monkeypatch.setattr(tracking, "write_report", lambda *anything: pytest.fail("the report had not changed"))
    tracking.report_or_say(plan)
    assert sync(plan).added == []
    monkeypatch.undo()
    page.write_text("second")
    tracking.report_or_say(plan)
    assert (place / "report.html").read_text() == "second"
    assert study_run(client, synced.experiment_id).info.run_id == own
    noted = read_json(runs / "tiny" / "mlflow.json")
    assert (noted["tracking_uri"], noted["study_run"]) == (f"sqlite:///{runs / 'mlflow.db'}", own)


def test_the_cost_view_shows_what_the_runs_have(made):
    from experiments.views import COST, TAG, saved_views

    plan = plan_tiny(made.runs_dir, UNTIL)
    view = json.loads(saved_views(plan, ["caption/CIDEr", "pretrain/tokens/mean"], 0)[TAG + COST])
    state = json.loads(view["state"])
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "lavit.arm"}]
    charts = [(chart["type"], chart.get("metricKey") or chart["xaxis"]["key"]) for chart in state["compareRunCharts"]]
    assert ("BAR", "cost/train_tflop") in charts
    assert ("SCATTER", "pretrain/tokens/mean") in charts
    assert "metrics.`cost/params_m`" in state["selectedColumns"]


def test_views_of_many_arms_fit_into_a_tag(made):
    from experiments.views import LIMIT, VIEWS, saved_views

    plan = plan_tiny(made.runs_dir, UNTIL)
    plan.arms.update({f"regime=adapter tokens=pooled llm=frozen number={n}": None for n in range(60)})
    views = saved_views(plan, ["caption/CIDEr", "pretrain/tokens/mean"], 0)
    assert len(views) == len(VIEWS)
    assert max(map(len, views.values())) <= LIMIT


def test_a_server_that_is_away_costs_no_time_and_is_filled_later(runs, capsys):
    away = f"tracking.uri=http://127.0.0.1:{free_port()}"
    plan = plan_tiny(runs, UNTIL, away)
    before = time.monotonic()
    assert sync_or_say(plan) is None
    assert time.monotonic() - before < 1.0
    told = capsys.readouterr().err
    assert "no connection to the tracking server 127.0.0.1" in told
    assert "Nothing is lost" in told
    assert f"lavit sync study=tiny runs={runs} {UNTIL} {away}" in told
    assert not (runs / "mlflow.db").exists(), "and nothing goes elsewhere instead"


def test_the_report_does_not_wait_for_a_server(made, runs, monkeypatch):
    order = []
    monkeypatch.setattr("experiments.driver.show_report", lambda plan, folder: order.append("report") or True)
    monkeypatch.setattr("experiments.tracking.sync_or_say", lambda plan: order.append("sync"))
    launch = run_jobs(plan_tiny(runs, "study.until=vision", "tracking.uri=http://127.0.0.1:9"), HerePool(), quiet=True)
    assert finish(launch)
    assert order == ["report", "sync"]


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up(runs, capsys):
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        plan = plan_tiny(runs, UNTIL, f"tracking.uri=http://127.0.0.1:{deaf.getsockname()[1]}")
        before = time.monotonic()
        assert sync_or_say(plan) is None
        assert time.monotonic() - before < 40, "one request's limit, and MLflow's import"
    assert "Nothing is lost" in capsys.readouterr().err


@contextmanager
def server(folder, port):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **QUIET}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log.txt").read_text()
            try:
                with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except (URLError, OSError):
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


@pytest.mark.slow
def test_a_real_server_that_was_away_gets_all_that_the_database_has(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # this test is not about a busy machine
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    plan = plan_tiny(runs, UNTIL, f"tracking.uri={uri}")
    assert sync_or_say(plan) is None
    with server(tmp_path / "server", port):
        synced = sync(plan, patient=True)
        assert len(synced.added) == 4
        (tmp_path / "a").mkdir()
        sent = content(open_client(runs, uri), synced.experiment_id, tmp_path / "a")
        found = fetch("tiny", tmp_path / "reader", uri)
        assert (found.runs, found.new) == (4, 4)
        assert fetch("tiny", tmp_path / "reader", uri).new == 0
        collect(plan)
        for part in ("records", "samples", "images", "runs.json", "study.yaml", "curves.parquet"):
            here = [runs / "tiny" / part, *(runs / "tiny" / part).rglob("*")]
            for path in (path for path in here if path.is_file()):
                assert (found.folder / path.relative_to(runs / "tiny")).read_bytes() == path.read_bytes(), path
        assert sync(plan, patient=True).added == []
    local = content(open_client(runs), sync(plan_tiny(runs, UNTIL)).experiment_id, tmp_path / "a")
    assert sent.keys() == local.keys()
    for key, run in sent.items():
        for part in ("info", "params", "histories"):
            assert run[part] == local[key][part]
        assert run["artifacts"].keys() == local[key]["artifacts"].keys()
    assert read_json(runs / "tiny" / "mlflow.json")["tracking_uri"].startswith("sqlite:")
