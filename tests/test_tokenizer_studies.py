"""The studies that stop at the tokenizer, planned at every scale and run at the smallest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = {
    "codebook": {
        "default", "size=256", "size=2048", "dim=8", "dim=64", "init=random", "learn=gradient", "warmup=0.0",
        "revival=off", "mask_gradient=off", "anneal=0.0", "settle=0.0",
    },
    "tokenizer": {
        "default", "selector=random", "selector=all", "merger=bidirectional", "merger=mean", "merger=none",
        "quantizer=none",
    },
}  # fmt: skip


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("scale", ["smoke", "quick", "standard"])
def test_each_takes_one_thing_away_at_a_time(study: str, scale: str, tmp_path: Path) -> None:
    from experiments.plan import make_plan

    plan = make_plan([f"study={study}", f"scale={scale}", f"runs={tmp_path}"], count=False)
    assert set(plan.arms) == STUDIES[study]
    assert plan.stages == ["vision", "tokenizer", "pixels", "inspect"]
    jobs = [stage for stage, _ in plan.jobs]
    assert jobs.count("tokenizer") == jobs.count("inspect") == 3 * len(plan.arms)


def test_crossing_all_axes_leaves_out_what_means_nothing(tmp_path: Path) -> None:
    from experiments.plan import make_plan

    plan = make_plan(["study=tokenizer", "study.design=full", "scale=smoke", f"runs={tmp_path}"], count=False)
    assert len(plan.arms) == 3 * 4 * 2 - 2
    (removed,) = plan.design.removed
    assert "nothing to average" in removed.void.why


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_each_runs_to_its_report(study: str, tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "experiments.cli", "run", f"study={study}", "scale=smoke", "study.seeds=2"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [*command, f"runs={tmp_path}"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / study
    document = json.loads((folder / "report.json").read_text())
    assert document["tables"] == ["main", "ceilings", "codebook"]
    headline = [c for c in document["contrasts"] if c["metric"] == "cosine_objects" and c["kind"] == "arm"]
    assert {c["arm"] for c in headline} == STUDIES[study] - {"default"}
    assert all(c["low"] <= c["estimate"] <= c["high"] for c in headline)
    runs = json.loads((folder / "runs.json").read_text())
    assert runs["confounds"] == []
    assert all(run["mlflow_run_id"] for run in runs["runs"])
    assert not [name for name in runs["runs"][0]["metrics"] if name.startswith("inspect/")]
    text = (folder / "report.html").read_text()
    assert "Cosine on objects" in text
