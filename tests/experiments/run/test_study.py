"""A whole study on fake stages: run, run again, fail, be killed, collect, track."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_study import CONF, fork, plan_tiny

from experiments.attempts import attempts as attempts_of
from experiments.batch_pool import BatchPool
from experiments.collect import collect, write_runs
from experiments.confounds import differing, find_confounds
from experiments.driver import failure_text, run_jobs, show_report
from experiments.job import run_stage
from experiments.launch import HerePool
from experiments.metrics_table import metrics_table
from experiments.plan import make_plan, single_arm_plan
from experiments.status import study_state
from experiments.store import Store


def digest(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_study_that_is_done_runs_nothing(finished, attempts):
    again = run_jobs(plan_tiny(finished.runs_dir), HerePool(), quiet=True)
    assert again.ok
    assert again.ran == 0
    assert attempts() == []


def test_adding_a_seed_runs_only_what_is_new(plan, attempts):
    run_jobs(plan("study.until=pretrain"), HerePool(), quiet=True)
    before = len(attempts())
    launch = run_jobs(plan("study.until=pretrain", "study.seeds=3"), HerePool(), quiet=True)
    assert launch.ran == 2 + 5, "two tokenizers and five pretrainings of the new seed"
    assert len(attempts()) == before + launch.ran


@pytest.mark.parametrize("design", ["one_at_a_time", "full"])
def test_adding_a_level_or_an_axis_runs_only_what_is_new_and_old_arms_stay_what_they_are(plan, attempts, design):
    def run(axes):
        launch = run_jobs(
            plan("study.until=pretrain", f"study.design={design}", "study.void=[]", f"study.axes={axes}"),
            HerePool(),
            quiet=True,
        )
        return launch, {(run.arm, run.seed): run.stage_keys for run in launch.plan.runs}

    first, few = run("{regime: [unified,adapter], tokens: [dynamic]}")
    assert len(first.plan.design.arms) == 2
    level, more = run("{regime: [unified,adapter], tokens: [dynamic,pooled]}")
    axis, most = run("{regime: [unified,adapter], tokens: [dynamic,pooled], llm: [unfrozen,frozen]}")
    assert few.items() <= more.items() <= most.items(), "an arm keeps its name and its keys"
    assert (level.ran, axis.ran) == ((4, 2) if design == "one_at_a_time" else (6, 8))
    assert len(set(attempts())) == len(attempts()) == first.ran + level.ran + axis.ran


def test_one_arm_alone_finds_what_the_study_made(finished, attempts):
    for run in finished.runs[:3]:
        alone = single_arm_plan(run.overrides, config_dir=CONF, count=False)
        assert alone.runs[0].stage_keys == run.stage_keys
        assert run_jobs(alone, HerePool(), quiet=True).ran == 0
    assert attempts() == []


def test_batches_of_any_launcher_give_the_same_as_the_graph(plan, tmp_path):
    def batch(requests):
        for request in requests:
            run_stage(request)

    launch = run_jobs(plan("study.until=pretrain"), BatchPool(batch))
    assert launch.ok
    assert launch.ran == len(launch.plan.jobs)


def test_a_launcher_that_raises_loses_nothing_that_was_finished(plan, capsys):
    """Its batch counts as lost where it is not done: twice more, then it is marked."""
    wanted = plan("study.until=tokenizer")
    doomed = next(key for stage, key in wanted.jobs if stage == "tokenizer")
    sent = []

    def batch(requests):
        sent.extend(request.parent.name for request in requests)
        for request in requests:
            if request.parent.name != doomed:
                run_stage(request)
        if any(request.parent.name == doomed for request in requests):
            raise RuntimeError("a node went away")

    launch = run_jobs(wanted, BatchPool(batch))
    assert [outcome.status for outcome in launch.outcomes.values()].count("ran") == 7
    assert sent.count(doomed) == 3
    assert max(sent.count(name) for name in sent if name != doomed) == 1
    assert not launch.ok
    assert "a node went away" in failure_text(launch)
    assert "[lost]" in failure_text(launch)


def test_a_failed_arm_is_named_with_the_command_that_repeats_it(tmp_path):
    plan = plan_tiny(tmp_path / "runs", "study.until=pretrain")
    bad = next(run for run in plan.runs if run.levels["llm"] == "frozen" and run.seed == 1)
    job = plan.jobs[("pretrain", bad.stage_keys["pretrain"])]
    job.config = {**job.config, "work": {**job.config["work"], "how": "raise"}}
    launch = run_jobs(plan, HerePool(), quiet=True)
    text = failure_text(launch)
    assert "1 of 10 runs are not complete" in text
    assert "llm=frozen · seed 1: pretrain failed: ValueError: loss is not a number" in text
    assert "repeat  lavit train" in text
    assert "seed=1" in text
    state = study_state(plan)
    assert state.stages["pretrain"] == {"done": 9, "running": 0, "failed": 1, "missing": 0}
    assert "ValueError" in state.render()
    collect(plan)
    runs = json.loads((plan.runs_dir / "tiny" / "runs.json").read_text())["runs"]
    assert [run["status"] for run in runs].count("done") == 9
    failed = next(run for run in runs if run["status"] == "failed")
    assert failed["error"]["class"] == "ValueError"
    assert Path(failed["error"]["traceback"]).is_file()


def test_a_study_that_has_not_begun_can_be_collected(plan):
    folder = collect(plan())
    assert {run["status"] for run in json.loads((folder / "runs.json").read_text())["runs"]} == {"missing"}
    assert list((folder / "records").iterdir()) == []


def test_collecting_is_complete_and_deterministic(finished):
    import pyarrow.parquet as parquet

    folder = collect(finished)
    before = digest(folder)
    collect(finished)
    assert digest(folder) == before
    names = {path.name for path in (folder / "records").iterdir()}
    assert len(names) == 10
    assert "default-s0.parquet" in names
    table = parquet.read_table(folder / "records" / "default-s0.parquet")
    assert table.column_names[:4] == ["study", "arm", "seed", "benchmark"]
    assert set(table["arm"].to_pylist()) == {"default"}
    curves = parquet.read_table(folder / "curves.parquet").to_pydict()
    assert set(curves["name"]) == {"train/loss", "val/caption/CIDEr"}
    assert (folder / "images" / "0.png").is_file()
    assert len(list((folder / "samples").rglob("t2i-*.png"))) == 10
    run = json.loads((folder / "runs.json").read_text())["runs"][0]
    assert run["metrics"]["caption/CIDEr"] > 0
    assert run["ledgers"]["pretrain"]["steps"] == 2
    assert run["command"].startswith("lavit train")


def test_a_study_that_stops_is_collected_from_its_closing_stage(plan):
    import pyarrow.parquet as parquet

    wanted = plan("study.until=tokenizer")
    assert list(wanted.arms) == ["default", "tokens=pooled"]
    run_jobs(wanted, HerePool(), quiet=True)
    folder = collect(wanted)
    assert {path.name for path in (folder / "records").iterdir()} == {
        "default-s0.parquet", "default-s1.parquet", "tokens-pooled-s0.parquet", "tokens-pooled-s1.parquet",
    }  # fmt: skip
    runs = json.loads((folder / "runs.json").read_text())["runs"]
    assert {run["status"] for run in runs} == {"done"}
    assert runs[0]["metrics"]["caption/CIDEr"] > 3, "under its own name, as an evaluation's"
    assert runs[0]["metrics"]["tokenizer/caption/CIDEr"] > 3
    assert runs[0]["skipped"] == {"vqa/mood": "nobody asked"}
    assert runs[0]["fingerprints"]["caption"]["parts"] == {"split": "test", "beams": 1}
    curves = parquet.read_table(folder / "curves.parquet").to_pydict()
    assert set(zip(curves["stage"], curves["name"], strict=True)) == {
        ("tokenizer", "train/loss"), ("inspect", "val/caption/CIDEr"),
    }  # fmt: skip
    assert len(list((folder / "samples").rglob("t2i-*.png"))) == 4
    assert show_report(wanted, folder)
    page = (folder / "report.html").read_text()
    assert "caption: test, 6 images, CIDEr-D, held-out, 3f2a9c" in page
    assert "vqa/mood, every arm: nobody asked" in page
    assert "caption/CIDEr" in metrics_table({"default": wanted})


def test_a_study_that_stops_is_tracked_by_what_it_measured(plan):
    from experiments.tracking import open_client, sync

    wanted = plan("study.until=tokenizer")
    run_jobs(wanted, HerePool(), quiet=True)
    collect(wanted)
    synced = sync(wanted)
    client = open_client(wanted.runs_dir)
    run = client.get_run(synced.runs[("default", 0)])
    assert run.data.metrics["caption/CIDEr"] > 3
    assert run.data.metrics["cost/train_tflop"] == 3.21, "the tokenizer's own training, nothing that is shared"
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 3
    assert "records" in {item.path for item in client.list_artifacts(run.info.run_id)}


def test_the_confound_guard_sees_what_no_axis_explains(plan):
    wanted = plan()
    assert find_confounds(wanted) == []
    run = next(run for run in wanted.runs if run.levels["llm"] == "frozen")
    run.config = {**run.config, "work": {**run.config["work"], "steps": 3}}
    (found,) = find_confounds(wanted)
    assert found["path"] == "work.steps"
    assert (found["default"], found["value"]) == (2, 3)
    run.config["work"]["steps"] = 2
    for other in wanted.runs:
        other.config = {**other.config, "inner": {"head": dict(other.config["llm"])}}
    assert find_confounds(wanted) == [], "inner.head repeats the axis' own group"
    run.config["inner"]["head"]["further"] = 1
    assert [found["path"] for found in find_confounds(wanted)] == ["inner.head.name", "inner.head.further"]
    assert differing({"a": 1}, {"a": True}) == ["a"], "types count"
    assert differing({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}) == ["a.b.1"]


def test_an_arm_that_changes_more_than_its_axes_is_told_as_a_confound_also_in_the_report(tmp_path):
    from reports.audit import audit
    from reports.frame import load
    from reports.results import analyse

    conf = Path(shutil.copytree(CONF, tmp_path / "conf"))
    (conf / "study" / "confounded.yaml").write_text(
        "name: confounded\nquestion: Is it frozen that hurts?\ndesign: arms\naxes: {llm: [unfrozen, frozen]}\n"
        "arms:\n  default: {}\n  frozen: {llm: frozen, also: [work.steps=3]}\nseeds: 2\nheadline: caption/CIDEr\n"
    )
    wanted = make_plan(["study=confounded", f"runs={tmp_path / 'runs'}"], config_dir=conf, count=False)
    found = find_confounds(wanted)
    assert {(entry["arm"], entry["path"], entry["default"], entry["value"]) for entry in found} == {
        ("frozen", "work.steps", 2, 3)
    }
    assert {entry["set_by"] for entry in found} == {"also of the arm frozen"}
    assert run_jobs(wanted, HerePool(), quiet=True).ok
    (check,) = (check for check in audit(analyse(load(collect(wanted)))) if check.name == "Only the axes differ")
    assert check.state == "warn"
    assert "path: work.steps" in check.items[0]
    assert "also of the arm frozen" in check.items[0]


def test_mlflow_is_filled_from_the_store_and_syncing_twice_changes_nothing(finished):
    from experiments.tracking import database, open_client, sync, sync_or_say

    wanted = finished
    collect(wanted)
    synced = sync(wanted)
    assert len(synced.added) == 10
    client = open_client(wanted.runs_dir)
    again = sync(wanted)
    assert again.added == []
    assert again.runs == synced.runs
    runs = client.search_runs([synced.experiment_id], "tags.`lavit.kind` = 'run'")
    assert len(runs) == 10
    run = next(r for r in runs if r.info.run_name == "llm=frozen · seed 1")
    assert run.data.params == {
        "axis.regime": "unified",
        "axis.tokens": "dynamic",
        "axis.target": "discrete",
        "axis.llm": "frozen",
        "seed": "1",
    }
    assert run.data.tags["lavit.arm"] == "llm=frozen"
    assert run.data.metrics["caption/CIDEr"] > 3
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 3
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "requirements.txt", "environment.json", "records"} <= names
    tags = client.get_experiment(synced.experiment_id).tags
    view = json.loads(tags["mlflow.sharedViewState.lavit-arms"])
    state = json.loads(view["state"])
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "lavit.arm"}]
    assert "Does the engine run" in tags["mlflow.note.content"]
    write_runs(wanted)
    recorded = json.loads((wanted.runs_dir / "tiny" / "runs.json").read_text())["runs"]
    assert recorded[0]["mlflow_run_id"] == synced.runs[("default", 0)]
    assert sync_or_say(wanted).runs == synced.runs, "nothing changed: MLflow is not even opened"
    assert database(wanted.runs_dir).startswith("sqlite:////")


def test_a_tracking_failure_is_one_line_and_fails_nothing(plan, capsys):
    wanted = plan("study.until=vision")
    wanted.runs_dir.mkdir(parents=True)
    (wanted.runs_dir / "mlflow.db").write_text("this is no database")
    from experiments.tracking import sync_or_say

    assert sync_or_say(wanted) is None
    error = capsys.readouterr().err
    assert "Nothing is lost" in error
    assert "lavit sync study=tiny" in error


def start_run(runs, *overrides):
    command = [sys.executable, "-m", "experiments.cli", "run", "--conf", str(CONF), "study=tiny", f"runs={runs}"]
    return subprocess.Popen(
        [*command, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that runs the tests in the background makes them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def done_count(runs):
    return len(list(Path(runs).glob("store/*/*/DONE.json")))


def test_killed_in_the_middle_and_run_again_repeats_nothing_that_was_finished(tmp_path, attempts):
    runs = tmp_path / "runs"
    work = ["study.until=pretrain", "work.seconds=0.6", "work.steps=6"]
    process = start_run(runs, *work)
    wait_for(lambda: done_count(runs) >= 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    leases = [json.loads(path.read_text()) for path in runs.glob("store/*/*/LEASE.json")]
    finished = {(path.parent.parent.name, path.parent.name) for path in runs.glob("store/*/*/DONE.json")}
    wait_for(lambda: not any(Path(f"/proc/{lease['pid']}").exists() for lease in leases), 10)
    begun = attempts()
    plan = plan_tiny(runs, *work)
    assert run_jobs(plan, fork(), quiet=True).ok
    repeated = [job for job in attempts()[len(begun) :] if job in finished]
    assert repeated == []
    store = Store(runs)
    assert all(store.is_done(*job) and store.verify(*job) == [] for job in plan.jobs)

    clean = plan_tiny(tmp_path / "clean", *work)
    run_jobs(clean, fork(slots=4), quiet=True)
    for stage, key in plan.jobs:
        name = Path("store") / stage / key / "weights.txt"
        assert (runs / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_makes_the_workers_save_and_keeps_what_is_finished(tmp_path, number, code):
    runs = tmp_path / "runs"
    process = start_run(runs, "study.until=pretrain", "work.seconds=2", "work.steps=20")
    wait_for(lambda: len(list(runs.glob("store/tokenizer/*/resume/step.json"))) == 2 or process.poll() is not None)
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == code, text
    assert "Finished stages are kept" in text
    assert "the same command goes on from there" in text
    ends = [attempts_of(path.parent)[-1]["end"] for path in runs.glob("store/tokenizer/*/attempts.json")]
    assert ends == ["preempted", "preempted"]
    assert "Traceback" not in text
    for path in runs.glob("store/*/*/LEASE.json"):
        assert not Path(f"/proc/{json.loads(path.read_text())['pid']}").exists()


def test_the_whole_way_by_the_command_line_litters_nothing(tmp_path, monkeypatch):
    """Plain Hydra multirun of two arms, in an empty folder: only runs/ appears."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "experiments.cli", "train", "-m", "--conf", str(CONF), "llm=unfrozen,frozen"]
    done = subprocess.run([*command, "seed=0"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "caption/CIDEr" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert done_count(tmp_path / "runs") == 1 + 1 + 2 + 2
