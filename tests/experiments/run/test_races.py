"""Launches at the same moment: every key is trained exactly once, counted from the store."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fake_study import HERE

from experiments.attempts import attempts as attempts_of
from experiments.plan import make_plan
from experiments.store import Store

SAME = (["study=tiny", "study.until=tokenizer"], ["study=tiny", "study.until=tokenizer"])
SHARED = (["study=tiny", "study.until=tokenizer"], ["study=pair", "study.until=pretrain"])


def side_by_side(runs: Path, gate: Path, studies, seed: int):
    """Start a launch of each study, let all go at the same moment, and wait for both."""
    draw = random.Random(seed)
    work = ["work.steps=2", f"work.seconds={draw.choice([0.0, 0.02, 0.1])}"]
    script = [sys.executable, str(HERE / "launch_study.py"), str(gate), str(runs)]
    launches = [
        subprocess.Popen([*script, *study, *work], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for study in studies
    ]
    while len(list(gate.parent.glob(f"{gate.name}.*"))) < len(launches):
        assert all(launch.poll() is None for launch in launches), launches[0].communicate()[0]
        time.sleep(0.01)
    gate.touch()
    said = [launch.communicate(timeout=120)[0] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], "\n".join(said)
    return [make_plan([*study, *work, f"runs={runs}"], config_dir=HERE / "conf", count=False) for study in studies]


def check_once(runs, plans, attempts):
    keys = {identity for plan in plans for identity in plan.jobs}
    store = Store(runs)
    assert all(store.is_done(*identity) and store.verify(*identity) == [] for identity in keys)
    ends = {identity: [entry["end"] for entry in attempts_of(store.folder(*identity))] for identity in keys}
    assert set(map(tuple, ends.values())) == {("done",)}, ends
    assert Counter(attempts()) == Counter(keys), "the stages' own count, outside of the store"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
@pytest.mark.parametrize("studies", [SAME, SHARED], ids=["same study", "shared tokenizer"])
def test_two_launches_at_the_same_moment_train_each_key_once(studies, seed, tmp_path, attempts):
    runs = tmp_path / "runs"
    plans = side_by_side(runs, tmp_path / "gate", studies, seed)
    check_once(runs, plans, attempts)
    if studies is SHARED:
        shared = plans[0].jobs.keys() & plans[1].jobs.keys()
        assert {stage for stage, _ in shared} == {"vision", "tokenizer"}
