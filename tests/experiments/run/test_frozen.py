"""What runs.json tells of a plan that was frozen before, or after, its runs."""

from __future__ import annotations

import json

from fake_study import plan_tiny

from experiments.collect import study_folder, write_runs
from experiments.freeze import freeze


def test_runs_hold_the_deviations_from_the_frozen_plan(finished):
    study_folder(finished).mkdir(parents=True, exist_ok=True)
    assert json.loads(write_runs(finished).read_text())["frozen"] is None
    told = freeze(plan_tiny(finished.runs_dir))
    assert f"{len(finished.runs)} of {len(finished.runs)} runs are done already" in told
    frozen = json.loads(write_runs(finished).read_text())["frozen"]
    assert frozen["deviations"] == []
    assert len(frozen["done_before"]) == len(finished.runs)
    more = plan_tiny(finished.runs_dir, "study.seeds=[0,1,2,7]")
    assert "seed added: 7" in json.loads(write_runs(more).read_text())["frozen"]["deviations"]
