"""An evaluation that is killed without warning, again and again, ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from test_runner import hashes

from evals.records import load_records
from evals.runner import recompute

HERE = Path(__file__).parent


def start(out: Path, kind: str) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)]),
        "OMP_NUM_THREADS": "1",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen([sys.executable, str(HERE / "killed_evaluation.py"), str(out), kind], env=environment)


def parts(out: Path) -> set[str]:
    return {str(path) for path in (out / "resume").rglob("*.parquet")}


def calls(out: Path) -> list[str]:
    log = out.parent / "asked.log"
    return log.read_text().splitlines() if log.is_file() else []


def kill_at(out: Path, kind: str, batches: int, wait_s: float) -> bool:
    """Kill a process some time after it has finished so many further batches; False if it was done before."""
    before = len(parts(out))
    process = start(out, kind)
    while process.poll() is None and len(parts(out)) < before + batches:
        time.sleep(0.002)
    time.sleep(wait_s)
    process.kill()
    return process.wait() != 0


def check_kills(folder: Path, kind: str, kills: int, most: int) -> None:
    moments = random.Random(7)
    whole, broken = folder / "whole" / "out", folder / "broken" / "out"
    assert start(whole, kind).wait() == 0
    for number in range(kills):
        assert kill_at(broken, kind, moments.randint(0, most), moments.uniform(0, 0.03)), f"kill {number} came too late"
        assert not (broken / "records.parquet").exists()
    left = len(parts(broken))
    assert left > 0
    assert start(broken, kind).wait() == 0
    assert hashes(broken) == hashes(whole)
    records = load_records(broken / "records.parquet")
    seen = Counter((r.benchmark, r.metric, r.control, r.example_id) for r in records)
    assert set(seen.values()) == {1}
    wanted = {"caption": 40, "vqa": 120, "t2i": 30}
    assert {name: sum(r.benchmark == name and not r.control for r in records) for name in wanted} == wanted
    assert recompute(broken) == recompute(whole)
    # Only what was being asked when the process died is asked again: one batch a kill at most.
    assert len(calls(whole)) <= len(calls(broken)) <= len(calls(whole)) + kills


def test_two_kills(tmp_path) -> None:
    check_kills(tmp_path, "slow", 2, 12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["slow", "arm"])
def test_ten_kills(tmp_path, kind: str) -> None:
    check_kills(tmp_path, kind, 10, 4)
