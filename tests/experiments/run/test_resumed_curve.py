"""A stage that was killed and went on is one MLflow run: a curve without a gap or a repeated step, the same numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from experiments.driver import run_jobs
from experiments.launch import HerePool
from experiments.plan import single_arm_plan
from experiments.tracking import open_client, sync

OVERRIDES = ["scale=smoke", "scale.world.examples.train=64", "scale.steps.tokenizer=60", "study.until=tokenizer"]
KILLED_AT = 35
KILLED = f"""
import os, signal, sys
from pathlib import Path
from experiments import job
from experiments.driver import run_jobs
from experiments.launch import HerePool
from experiments.plan import single_arm_plan
from lavit.stages import training

training.SAVE_EVERY_S = 0.0
goes_on = job.Progress.__call__

def dies(self, step, total, metrics):
    goes_on(self, step, total, metrics)
    if step == {KILLED_AT} and self._path.parent.parent.name == "tokenizer":
        os.kill(os.getpid(), signal.SIGKILL)

job.Progress.__call__ = dies
run_jobs(single_arm_plan(sys.argv[2:], Path(sys.argv[1])), HerePool(), quiet=True)
"""


def curve(runs):
    """The one MLflow run's loss as (step, value), in MLflow's order of time."""
    synced = sync(single_arm_plan(OVERRIDES, runs))
    (run_id,) = synced.runs.values()
    client = open_client(runs)
    assert len(client.search_runs([synced.experiment_id])) == 1
    points = client.get_metric_history(run_id, "train/loss")
    return [(point.step, point.value) for point in sorted(points, key=lambda point: point.timestamp)]


@pytest.mark.slow
def test_a_stage_that_was_killed_and_went_on_is_one_run_with_an_unbroken_curve(tmp_path):
    runs = tmp_path / "runs"
    dead = subprocess.run([sys.executable, "-c", KILLED, str(runs), *OVERRIDES], env=dict(os.environ))
    assert dead.returncode == -signal.SIGKILL
    plan = single_arm_plan(OVERRIDES, runs)
    folder = plan.store_dir / "tokenizer" / plan.runs[0].stage_keys["tokenizer"]
    assert (folder / "resume").is_dir()
    assert not (folder / "DONE.json").exists()
    assert run_jobs(plan, HerePool(), quiet=True).ok
    found = curve(runs)
    assert [step for step, _ in found] == [10, 20, 30, 40, 50, 60]
    whole = tmp_path / "whole"
    assert run_jobs(single_arm_plan(OVERRIDES, whole), HerePool(), quiet=True).ok
    assert curve(whole) == found
