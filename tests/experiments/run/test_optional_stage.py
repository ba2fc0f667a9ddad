"""Runs that lack a stage (`unless_null`) beside runs that have it: whatever shows or compares runs handles both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from fake_study import CONF

from experiments.collect import collect, write_runs
from experiments.diff import diff, find_side, render
from experiments.driver import run_jobs
from experiments.freeze import freeze
from experiments.gc import survey
from experiments.launch import HerePool
from experiments.plan import make_plan
from experiments.run_results import own_stages
from experiments.status import run_state, study_state
from experiments.store import Store
from experiments.union import make_plans, merge
from experiments.why import explain, find_run, render_reasons

STUDY = {
    "question": "Does a second stage help?", "design": "full", "axes": {"regime": ["unified", "two_stage"]},
    "seeds": 1, "headline": "caption/CIDEr",
}  # fmt: skip


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The tiny config with a stage `tune` that only `regime=two_stage` has."""
    folder = Path(shutil.copytree(CONF, tmp_path_factory.mktemp("optional") / "conf"))
    (folder / "regime" / "unified.yaml").write_text("# One stage.\nname: unified\ntune: null\n")
    (folder / "regime" / "two_stage.yaml").write_text("# Two stages.\nname: two_stage\ntune: {share: 0.5}\n")
    root = yaml.safe_load((folder / "config.yaml").read_text())
    stages = root["stages"]
    stages["pretrain"]["reads"] = ["work", "tokens", "target", "llm"]
    stages["tune"] = {
        "run": "fake_stages.run", "needs": ["tokenizer", "pretrain"], "reads": ["work", "regime.tune"],
        "unless_null": "regime.tune",
    }  # fmt: skip
    stages["evaluate"]["needs"] = ["tokenizer", "pretrain", "tune"]
    (folder / "config.yaml").write_text(yaml.safe_dump(root, sort_keys=False))
    (folder / "study" / "stages.yaml").write_text("# Two regimes.\n" + yaml.safe_dump(STUDY, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def plan(conf, tmp_path_factory):
    """The study, run and collected."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        launch = run_jobs(planned(conf, runs), HerePool(), quiet=True)
    assert launch.ok
    collect(launch.plan)
    return launch.plan


def planned(conf, runs, *overrides):
    return make_plan(["study=stages", f"runs={runs}", *overrides], config_dir=conf, count=False)


def test_only_the_runs_that_have_it_plan_it_and_what_they_share_is_one(plan):
    one, two = (run.stage_keys for run in plan.runs)
    assert "tune" not in one
    assert list(two)[-2:] == ["tune", "evaluate"]
    assert one["pretrain"] == two["pretrain"]
    assert one["evaluate"] != two["evaluate"]
    assert sum(stage == "tune" for stage, _ in plan.jobs) == 1


def test_the_plan_lists_no_stage_that_no_run_has(conf, tmp_path, plan):
    stages = [summary.stage for summary in plan.stage_summaries()]
    assert stages == ["vision", "tokenizer", "pretrain", "tune", "evaluate"]
    narrowed = planned(conf, tmp_path, "regime=unified")
    assert "tune" not in [summary.stage for summary in narrowed.stage_summaries()]
    assert "  tune " not in narrowed.render()


def test_status_knows_each_run_by_its_own_stages(plan, conf, tmp_path):
    store = Store(plan.runs_dir)
    states = {run.arm: run_state(store, run) for run in plan.runs}
    assert [state.status for state in states.values()] == ["done", "done"]
    assert [len(state.stages) for state in states.values()] == [4, 5]
    assert study_state(plan).stages["tune"]["done"] == 1
    assert {state.status for _, state in study_state(planned(conf, tmp_path)).runs} == {"missing"}


def test_a_frozen_plan_holds_both_and_finds_no_deviation(plan, conf):
    freeze(planned(conf, plan.runs_dir))
    frozen = json.loads(write_runs(plan).read_text())["frozen"]
    assert frozen["deviations"] == []
    assert len(frozen["done_before"]) == 2


def test_why_names_what_made_the_stage_new(plan, conf):
    shares = "{half: ['regime=two_stage'], quarter: ['regime=two_stage', 'regime.tune.share=0.25']}"
    other = planned(conf, plan.runs_dir, f"study.axes={{share: {shares}}}")
    run = find_run(other, "share=quarter")
    text = render_reasons(run, explain(other, run))
    assert "2 of 5 stages would run" in text
    assert "regime.tune.share" in text
    one = find_run(plan, "default")
    assert "all 4 stages are done" in render_reasons(one, explain(plan, one))


def test_diff_compares_a_run_with_one_that_lacks_a_stage(plan):
    sides = (find_side(plan.runs_dir, arm, "stages") for arm in ("default", "regime=two_stage"))
    found = diff(plan.runs_dir, *sides)
    assert found.shared == ["vision", "tokenizer", "pretrain"]
    assert "tune" in render(found)


def test_nothing_of_either_run_is_garbage(plan):
    store = Store(plan.runs_dir)
    assert survey(store, plan.jobs, older_than_s=0.0).garbage == []
    kept = {identity for run in plan.runs if run.arm != "default" for identity in run.stage_keys.items()}
    named = {(item.stage, item.key) for item in survey(store, kept, older_than_s=0.0).garbage}
    assert not named & kept


def test_jobs_come_in_waves_whichever_stages_a_run_has(conf, tmp_path):
    waves = [sorted(job.stage for job in wave) for wave in planned(conf, tmp_path).topological_waves()]
    assert waves == [["vision"], ["tokenizer"], ["pretrain"], ["evaluate", "tune"], ["evaluate"]]


def test_studies_with_and_without_the_stage_are_one_launch(conf, tmp_path):
    (conf / "study" / "one.yaml").write_text(
        "# One regime.\n" + yaml.safe_dump({**STUDY, "axes": {"llm": ["unfrozen", "frozen"]}}, sort_keys=False)
    )
    plans = make_plans(["study=[one,stages]", f"runs={tmp_path}"], config_dir=conf, count=False)
    merged = merge(plans)
    assert "tune" in [stage for stage, _ in merged.jobs]
    assert [run.arm for run in merged.runs] == ["default", "llm=frozen", "default", "regime=two_stage"]


def test_tracking_takes_the_stages_that_are_the_runs_own(plan):
    one, two = plan.runs
    assert "tune" not in own_stages(one)
    assert own_stages(two) == ["pretrain", "tune"]
