"""kill -9 of workers and of the driver, at random moments: nothing is lost, repeated or changed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_study import HERE, fork, plan_tiny

from experiments.attempts import attempts as attempts_of
from experiments.collect import collect
from experiments.driver import run_jobs, show_report
from experiments.metrics_table import run_metrics
from experiments.store import Store

WORK = ["work.seconds=0.4", "work.steps=8"]


def table(plan, with_report):
    """What a reader gets: records, numbers and, with the report, tables, byte by byte."""
    folder = collect(plan)
    assert not with_report or show_report(plan, folder)
    kept = [*(folder / "records").rglob("*"), *(folder / "tables").rglob("*")]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if path.is_file()}
    return files, {run.name: run_metrics(Store(plan.runs_dir), run) for run in plan.runs}


class Driver:
    """A launch that is started again whenever it is not running."""

    def __init__(self, runs: Path, overrides):
        gate = runs.parent / "gate"
        gate.touch()
        script = str(HERE / "launch_study.py")
        self.runs = runs
        self.command = [sys.executable, script, str(gate), str(runs), "study=tiny", *overrides]
        self.process: subprocess.Popen | None = None

    def ensure(self):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def workers(self):
        """Live holders of a lease."""
        pids = []
        for path in self.runs.glob("store/*/*/LEASE.json"):
            try:
                pids.append(int(json.loads(path.read_text())["pid"]))
            except (OSError, ValueError):
                continue  # released or being written at this moment
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def kill(self, draw: random.Random) -> str:
        """Kill a worker or the driver; returns which, or nothing where the moment had passed."""
        assert self.process is not None
        victims = self.workers()
        if draw.random() < 0.3 or not victims:
            if self.process.poll() is not None:
                return ""
            self.process.kill()
            self.process.wait()
            return "driver"
        try:
            os.kill(draw.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            return ""
        return "worker"


@pytest.mark.parametrize(
    ("kills", "scope"),
    [
        pytest.param(3, ["study.until=tokenizer", "study.seeds=1", "work.seconds=0.2"], id="3 kills"),
        pytest.param(30, [], id="30 kills", marks=pytest.mark.slow),
    ],
)
def test_a_study_under_kills_ends_as_an_undisturbed_one(kills, scope, tmp_path):
    runs = tmp_path / "runs"
    draw = random.Random(4)
    driver = Driver(runs, [*WORK, *scope])
    killed = []
    deadline = time.monotonic() + 20 * kills + 60
    wanted = plan_tiny(runs, *WORK, *scope)
    store = Store(runs)
    while len(killed) < kills and time.monotonic() < deadline:
        driver.ensure()
        while not driver.workers() and driver.process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.5))
        if all(store.is_done(*job) for job in wanted.jobs):
            last = list(wanted.jobs)[-1]  # leave something to be killed in
            (store.folder(*last) / "DONE.json").unlink()
            continue
        if victim := driver.kill(draw):
            killed.append(victim)
    assert {"driver", "worker"} <= set(killed) or kills < 10
    for _ in range(4):  # a worker that is killed twice in one launch is left to the next
        driver.ensure()
        if driver.process.wait(timeout=300) == 0:
            break
    assert driver.process.returncode == 0
    for job in wanted.jobs:
        folder = store.folder(*job)
        assert store.verify(*job) == []
        body = store.done(*job)
        assert all(attempt["begun"] <= body["finished"] for attempt in attempts_of(folder)), "done, and begun again"
    clean = plan_tiny(tmp_path / "clean", *WORK, *scope)
    assert run_jobs(clean, fork(), quiet=True).ok
    assert table(wanted, kills > 10) == table(clean, kills > 10)
