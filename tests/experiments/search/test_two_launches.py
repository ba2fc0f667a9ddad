"""Searches as whole processes: two at once, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def start(runs, *overrides):
    command = [sys.executable, "-m", "experiments.cli", "run", "--conf", str(HERE / "conf"), "study=search_lr"]
    path = os.pathsep.join([str(HERE), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, f"runs={runs}", "hydra.launcher.n_jobs=1", *overrides],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def trials(runs):
    body = json.loads((runs / "search_lr" / "trials.json").read_text())
    return [[(t["values"]["optimizer.lr"], t["state"]) for t in arm["trials"]] for arm in body["arms"]]


def test_two_launches_at_once_train_each_trial_once(tmp_path, trained):
    both = [start(tmp_path / "runs", "work.seconds=0.05") for _ in range(2)]
    texts = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(texts)
    assert len(trained()) == len(set(trained())) == 12
    assert [len(arm) for arm in trials(tmp_path / "runs")] == [6, 6]


def test_a_search_that_is_killed_comes_to_what_an_undisturbed_one_comes_to(tmp_path, trained):
    killed = start(tmp_path / "runs", "work.seconds=0.1")
    deadline = time.monotonic() + 120
    while len(trained()) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert 8 <= len(trained()) < 12, "it was killed on its way"
    again = start(tmp_path / "runs", "work.seconds=0.1")
    text = again.communicate(timeout=240)[0]
    assert again.returncode == 0, text
    assert len(set(trained())) == 12
    assert len(trained()) <= 13, "only what was being trained is trained again"
    whole = start(tmp_path / "whole", "work.seconds=0.1")
    whole.communicate(timeout=240)
    assert trials(tmp_path / "whole") == trials(tmp_path / "runs")
