"""A stage on several devices: a group of its own inside a multirun, watched over, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_study import fork

from experiments.errors import LavitError
from experiments.launch import HerePool, run_graph
from experiments.plan import StageJob
from experiments.store import Request
from experiments.trainer import check_devices, devices_of

ROOT = Path(__file__).parents[3]
TRAINER = {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}


@pytest.fixture
def shared_job():
    def make(how="", steps=6, seconds=0.0):
        config = {"work": {"how": how, "steps": steps, "seconds": seconds}, "trainer": TRAINER}
        return StageJob("pretrain", "p", "group_stages.run", config, 0, {}, "0", "smoke", [], devices=2)

    return make


def ranks_of(folder):
    """Process ids of the ranks that work on a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"experiments.distributed" in words and str(folder / "request.yaml").encode() in words:
            found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_rank_that_fails_ends_its_group_and_its_error_is_the_stages(store, shared_job):
    job = shared_job(how="raise")
    outcome = run_graph({("pretrain", "p"): job}, store, HerePool())["pretrain", "p"]
    assert outcome.status == "failed"
    assert (outcome.error["class"], outcome.error["message"]) == ("ValueError", "loss is not a number at step 3")
    folder = store.folder("pretrain", "p")
    assert "in rank 1 of 2" in (folder / "traceback.txt").read_text()
    assert ranks_of(folder) == []
    # Asked again, the group goes on where it was saved, and what it took is counted.
    again = run_graph({("pretrain", "p"): job}, store, HerePool())["pretrain", "p"]
    assert again.status == "ran"
    assert (folder / "weights.txt").read_text() == "15.0 begun at 4 of 2"
    assert store.done("pretrain", "p")["cpu_s"] > 0.5  # of the ranks: the worker only watches


@pytest.mark.slow
def test_a_killed_rank_fails_the_stage_which_goes_on_when_it_is_run_again(store, shared_job):
    job = shared_job(how="kill")
    pool = fork()
    first = run_graph({("pretrain", "p"): job}, store, pool)["pretrain", "p"]
    if first.status == "failed":
        assert first.error["class"] == "Died" and "rank 1 of 2 was killed by signal 9" in first.error["message"]
        first = run_graph({("pretrain", "p"): job}, store, pool)["pretrain", "p"]
    assert first.status == "ran"
    assert "begun at 4" in (store.folder("pretrain", "p") / "weights.txt").read_text()
    assert ranks_of(store.folder("pretrain", "p")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_rank_outlives_its_worker(store, shared_job, number):
    request = store.write_request(shared_job(steps=1000, seconds=0.1).request())
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from experiments.job import run_stage; run_stage({str(request)!r})"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: (request.parent / "resume" / "step.json").exists())
    assert len(ranks_of(request.parent)) == 2
    worker.send_signal(number)
    worker.wait(30)
    wait_for(lambda: not ranks_of(request.parent), 10)
    assert not store.is_done("pretrain", "p")


@pytest.mark.parametrize(
    ("trainer", "optimizer", "message"),
    [
        ({"devices": 0}, "muon", r"trainer\.devices=0"),
        ({"devices": True}, "muon", r"trainer\.devices=True"),
        ({"devices": "two"}, "muon", r"trainer\.devices=two"),
        ({"devices": 2, "strategy": "dpp"}, "muon", r"trainer\.strategy=dpp.*\n.*'ddp'"),
        ({"devices": 1, "accelerator": "gpu"}, "muon", r"trainer\.accelerator=gpu"),
        ({"devices": 1, "strategy": "fsdp"}, "adamw", r"trainer\.devices=1.*\n.*trainer=single"),
        ({"devices": 2, "strategy": "fsdp"}, "muon", r"optimizer\.method=muon.*\n.*optimizer=adamw"),
    ],
)
def test_a_trainer_that_cannot_be_is_refused_in_the_plan(trainer, optimizer, message):
    with pytest.raises(LavitError, match=message):
        devices_of({"trainer": trainer, "optimizer": {"method": optimizer}}, "pretrain")


def test_gpus_that_are_not_there_are_refused_before_work():
    assert check_devices(2, "auto", 0) == check_devices(2, "cpu", 8) == "cpu"
    assert check_devices(2, "auto", 2) == check_devices(2, "cuda", 4) == "cuda"
    with pytest.raises(LavitError, match=r"trainer\.devices=4, but 2 GPUs[^\n]*\n.*trainer\.devices to 2"):
        check_devices(4, "auto", 2)
    with pytest.raises(LavitError, match=r"0 GPUs[^\n]*\n.*accelerator=cpu"):
        check_devices(2, "cuda", 0)


def test_devices_and_strategy_are_in_the_key_and_in_the_request(tmp_path):
    from experiments.plan import single_arm_plan

    def pretrain(*overrides):
        plan = single_arm_plan(["scale=smoke", f"runs={tmp_path}", *overrides])
        return next(job for job in plan.jobs.values() if job.stage == "pretrain"), plan

    one, plan = pretrain()
    two, shared = pretrain("trainer=ddp")
    assert (one.devices, two.devices) == (1, 2)
    assert one.key != two.key
    assert two.key != pretrain("trainer=fsdp", "optimizer=adamw")[0].key
    assert two.request()["devices"] == 2
    # Nothing else is trained again for it, and how one device shares its work means nothing.
    assert {key for key in plan.jobs if key[0] in ("vision", "language", "tokenizer", "pixels")} <= set(shared.jobs)
    assert "strategy" not in one.config["trainer"]
    for bad in ("trainer.devices=0", "trainer.strategy=dpp"):
        with pytest.raises(LavitError, match=bad):
            pretrain("trainer=ddp", bad)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["fork", "joblib"])
def test_two_processes_in_a_multirun_train_as_one_with_the_same_batch(tmp_path, launcher):
    from safetensors.numpy import load_file

    command = [sys.executable, "-m", "experiments.cli", "train", "-m", "scale=smoke", "trainer.devices=1,2"]
    command += [f"runs={tmp_path}", f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("pretrain", "cooldown"):
        requests = [Request.read(path) for path in tmp_path.glob(f"store/{stage}/*/request.yaml")]
        folders = {request.devices: request.folder for request in requests}
        assert set(folders) == {1, 2}
        one, two = (load_file(folders[devices] / "model.safetensors") for devices in (1, 2))
        for name, value in one.items():
            assert abs(two[name] - value).max() <= 1e-5 * max(1.0, abs(value).max()), name
        curves = [(folders[devices] / "history.jsonl").read_text().splitlines() for devices in (1, 2)]
        for alone, shared in zip(*curves, strict=True):
            assert json.loads(shared) == pytest.approx(json.loads(alone), rel=1e-5)
        for name in ("ledger.json", "metrics.json", "config.json"):
            assert (folders[1] / name).read_text() == (folders[2] / name).read_text(), name
