"""Done means DONE.json and files that match it; anything else does not count."""

from __future__ import annotations

import json
import os

import pytest

from experiments.errors import LavitError
from experiments.job import run_stage
from experiments.store import Request, Store


@pytest.fixture
def finished(store, make_job):
    job = make_job("vision", "v")
    run_stage(store.write_request(job.request()))
    return store


def test_clearing_leaves_a_request_that_another_launch_is_writing(store):
    folder = store.folder("vision", "v")
    folder.mkdir(parents=True)
    (folder / ".request.yaml.abc").write_text("half of it")
    (folder / "weights.txt").write_text("of an attempt that died")
    store.clear("vision", "v")
    assert [path.name for path in folder.iterdir()] == [".request.yaml.abc"]


def test_a_finished_stage_is_done_and_verifies(finished):
    body = finished.done("vision", "v")
    made = {"weights.txt", "metrics.json", "ledger.json", "config.json", "history.jsonl", "taken.log"}
    assert set(body["files"]) == made
    assert body["wall_s"] >= 0
    assert body["finished"] > 0
    assert finished.verify("vision", "v") == []
    assert not (finished.folder("vision", "v") / "resume").exists()
    assert not (finished.folder("vision", "v") / "LEASE.json").exists()


def test_a_truncated_file_is_not_done(finished):
    os.truncate(finished.folder("vision", "v") / "weights.txt", 3)
    assert not finished.is_done("vision", "v")


def test_an_altered_file_is_found_by_its_checksum_and_named(finished):
    path = finished.folder("vision", "v") / "weights.txt"
    path.write_bytes(b"x" * path.stat().st_size)
    assert finished.is_done("vision", "v")
    (problem,) = finished.verify("vision", "v")
    assert "weights.txt" in problem
    assert "content changed" in problem


def test_a_done_file_that_is_cut_off_does_not_count(finished):
    os.truncate(finished.folder("vision", "v") / "DONE.json", 20)
    assert not finished.is_done("vision", "v")


def test_a_request_keeps_the_types_of_the_config(store):
    config = {"lr": 1e-5, "text": "1e-4", "yes": "on", "none": None, "list": [1, 2.0], "bool": True, "empty": {}}
    path = store.write_request(
        {"stage": "s", "key": "k", "run": "fake_stages.run", "seed": 3, "needs": {}, "config": config}
    )
    request = Request.read(path)
    assert request.config == config
    assert request.seed == 3
    assert request.store.root == store.root
    assert isinstance(request.config["lr"], float)
    assert isinstance(request.config["text"], str)


def test_a_broken_request_is_refused_by_name(store):
    path = store.write_request({"stage": "s", "key": "k", "run": "r", "seed": 0, "needs": {}, "config": {}})
    path.write_text("stage: s\n")
    with pytest.raises(LavitError, match="is not a readable request"):
        Request.read(path)


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(LavitError, match="runs=DIR") as caught:
        Store(blocker / "runs").prepare()
    assert str(blocker) in str(caught.value)


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs a read-only folder that root cannot write to either")
def test_a_read_only_disk_is_refused_before_any_work():
    with pytest.raises(LavitError, match="/proc/1/runs"):
        Store("/proc/1/runs").prepare()


def test_a_failure_says_what_and_where_and_never_counts_as_done(store, make_job):
    job = make_job("vision", "v", how="raise")
    with pytest.raises(ValueError, match="not a number"):
        run_stage(store.write_request(job.request()))
    assert not store.is_done("vision", "v")
    failure = store.failure("vision", "v")
    assert failure["class"] == "ValueError"
    assert "step 3" in failure["message"]
    assert "fake_stages.py" in (store.folder("vision", "v") / failure["traceback"]).read_text()
    assert not (store.folder("vision", "v") / "LEASE.json").exists()


@pytest.mark.parametrize("how", ["undeclared", "write"])
def test_a_stage_sees_only_what_it_declared_and_cannot_change_it(store, make_job, how):
    with pytest.raises(Exception, match=r"undeclared|read-only|read only"):
        run_stage(store.write_request(make_job("vision", "v", how=how).request()))


def test_an_input_that_is_missing_is_named(store, make_job):
    with pytest.raises(LavitError, match="tokenizer needs vision/v"):
        run_stage(store.write_request(make_job("tokenizer", "t", {"vision": "v"}).request()))


def test_what_an_interrupted_attempt_left_is_cleared_except_its_checkpoint(store, make_job):
    job = make_job("vision", "v", steps=4)
    path = store.write_request(job.request())
    (path.parent / "resume").mkdir()
    (path.parent / "resume" / "step.json").write_text(json.dumps({"step": 3}))
    (path.parent / "steps.log").write_text("stale\n")
    (path.parent / "progress.json").write_text(json.dumps({"wall_s": 50.0, "cpu_s": 40.0}))
    body = run_stage(path)
    assert "steps.log" not in body["files"]
    assert body["wall_s"] >= 50, "time of the interrupted attempt counts"
    assert body["cpu_s"] >= 40
