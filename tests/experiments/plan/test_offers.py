"""Budgets, alternatives and pilots: the command line that is proposed plans to that very design."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.budget import propose, read_duration
from experiments.cli import main
from experiments.errors import LavitError
from experiments.pilot import read_pilot, seed_variance
from experiments.plan import Plan, make_plan
from experiments.render_plan import render_plan
from reports.contrast import seed_variance as report_seed_variance

Plans = Callable[..., Plan]


def again(command: str, conf: Path) -> Plan:
    program, verb, *overrides = shlex.split(command)
    assert (program, verb) == ("lavit", "run")
    return make_plan(overrides, config_dir=conf, count=False)


@pytest.mark.parametrize("study", ["lavit_paper", "quickstart"])
def test_the_best_fits_and_its_command_plans_to_it(study: str, shared_conf: Path, tmp_path: Path) -> None:
    plan = make_plan([f"study={study}", f"runs={tmp_path}"], config_dir=shared_conf, count=False)
    whole = plan.wall_seconds(2)
    budget = propose(plan, whole * 0.7, 2, shared_conf)
    best = budget.best
    assert best is not None
    assert best.wall_seconds <= whole * 0.7
    fitting = [c for c in budget.candidates if c.fits and not c.offer.lost and c.offer.worst is not None]
    assert best.offer.worst == min(c.offer.worst for c in fitting if c.offer.worst is not None)
    for candidate in (best, budget.cheapest):
        found = again(budget.command_of(candidate), shared_conf)
        assert (len(found.design.arms), len(found.runs), len(found.jobs)) == (
            candidate.offer.arms, candidate.offer.runs, candidate.offer.jobs,
        )  # fmt: skip
        assert found.wall_seconds(2) == pytest.approx(candidate.wall_seconds)
        assert max(e.holm or 0 for e in found.effects if e.kind == "main") == pytest.approx(candidate.offer.worst)


def test_nothing_fits_and_everything_fits(shared_conf: Path, tmp_path: Path) -> None:
    plan = make_plan(["study=lavit_paper", f"runs={tmp_path}"], config_dir=shared_conf, count=False)
    plan.budget = propose(plan, 1.0, 2, shared_conf)
    assert plan.budget.best is None
    assert "nothing fits 1 s of wall time on 2 cores; the cheapest is" in " ".join(render_plan(plan).split())
    plan.budget = propose(plan, 1e9, 2, shared_conf)
    assert plan.budget.best is not None
    assert plan.budget.best.offer.overrides == ()  # the study as it stands
    body = json.loads(plan.to_json())["budget"]
    assert body["best"] == f"lavit run study=lavit_paper runs={tmp_path}"
    assert {"design", "seeds", "wall_seconds", "worst", "fits", "command"} <= set(body["candidates"][0])


def test_a_family_that_a_sub_design_lacks_is_dropped_in_its_command(shared_conf: Path, tmp_path: Path) -> None:
    asked = ["study=lavit_paper", "study.family=['tokens=fixed, llm=frozen']", f"runs={tmp_path}"]
    plan = make_plan(asked, config_dir=shared_conf, count=False)
    budget = propose(plan, plan.wall_seconds(2) * 0.4, 2, shared_conf)
    ofat = next(c for c in budget.candidates if c.offer.design == "one_at_a_time")
    assert "study.family=null" in ofat.offer.overrides
    assert len(again(budget.command_of(ofat), shared_conf).design.arms) == 5


def test_a_budget_needs_times(plan: Plans, shared_conf: Path) -> None:
    with pytest.raises(LavitError, match="is not known at this scale"):
        propose(plan("study=quickstart", "~scale.seconds"), 60, 2, shared_conf)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1d", 86400), ("30s", 30), ("7200", 7200), ("1.5 h", 5400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-3h", "0", "2h x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(LavitError, match="is no time"):
        read_duration(text)


def test_a_full_design_is_offered_a_fraction_and_one_at_a_time_a_full_one(plan: Plans) -> None:
    offers = {o.design: o for o in plan("study=lavit_paper").alternatives}
    assert set(offers) == {"one_at_a_time", "{fraction: 8}"}
    assert offers["{fraction: 8}"].runs == 24
    assert offers["{fraction: 8}"].overrides == ("study.design={fraction:8}",)
    assert [o.design for o in plan("study=quickstart").alternatives][:1] == ["full"]


def test_a_fraction_is_planned_with_what_it_estimates(plan: Plans, conf: Path) -> None:
    found = plan("study=lavit_paper", "study.design={fraction:8}")
    text = " ".join(found.render().split())
    assert "D-optimal for main effects among 12 valid arms" in text
    assert "rank 5 of 5 (main effects), 8 of 11 (with two-way)" in text
    body = json.loads(found.to_json())
    assert body["estimable"]["main"] == ["regime=adapter", "tokens=fixed", "target=continuous", "llm=frozen"]
    assert body["study"]["model"] == ["regime", "tokens", "target", "llm"]
    (conf / "rules.yaml").unlink()
    whole = make_plan(
        ["study=lavit_paper", "study.void=null", "study.design={fraction:8}"], config_dir=conf, count=False
    )
    text = " ".join(whole.render().split())
    assert "textbook 2^(4-1), resolution IV" in text
    assert "aliased" in text
    assert "regime x tokens = target x llm" in text
    assert max(map(len, whole.render().splitlines())) <= 100


def test_what_the_design_cannot_estimate_ends_in_exit_code_1(
    shared_conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.planner.add_counts", lambda *_: "")  # a child process that loads torch
    asked = ["plan", "study=lavit_paper", f"runs={tmp_path}", "--conf", str(shared_conf), "--json"]
    assert main([*asked, "study.design={fraction:8}"]) == 0
    lost = "study.design={fraction:8,estimate:[main,'regime*target']}"
    assert main([*asked, lost]) == 1
    assert "cannot estimate" in capsys.readouterr().err
    assert main([*asked, lost, "--allow"]) == 0
    assert main([*asked]) == 0  # a full design claims nothing that voids take away


def write_runs(folder: Path, values: dict[tuple[str, int], float], metric: str = "caption/CIDEr") -> None:
    folder.mkdir(parents=True)
    runs: list[dict[str, Any]] = [{"arm": a, "seed": s, "metrics": {metric: v}} for (a, s), v in values.items()]
    (folder / "runs.json").write_text(json.dumps({"runs": [*runs, {"arm": "late", "seed": 0, "metrics": {}}]}))


def test_the_pilots_spread_is_the_reports(tmp_path: Path) -> None:
    means = np.random.default_rng(0).normal(5, 0.3, (4, 3))
    means[2, 1] = np.nan  # a run that failed
    values = {(f"arm{a}", s): float(means[a, s]) for a in range(4) for s in range(3) if np.isfinite(means[a, s])}
    variance, df = seed_variance(values)
    expected, expected_df = report_seed_variance(means)
    assert (variance, df) == (pytest.approx(expected), expected_df)
    write_runs(tmp_path / "earlier", values)
    pilot = read_pilot(tmp_path, "earlier", "caption/CIDEr")
    assert pilot.sd_seed == pytest.approx(expected**0.5)
    assert (pilot.arms, pilot.seeds, pilot.df) == (4, 3, 5)


def test_a_plan_takes_its_units_from_a_pilot(plan: Plans, tmp_path: Path, shared_conf: Path) -> None:
    rng = np.random.default_rng(1)
    write_runs(tmp_path / "runs" / "earlier", {(a, s): float(rng.normal(5, 0.2)) for a in "ab" for s in range(4)})
    found = plan("study=quickstart", "study.power={pilot: earlier}")
    assert found.pilot is not None
    assert found.study.sd_seed == found.pilot.sd_seed
    assert "pilot earlier: SD" in found.render()
    assert json.loads(found.to_json())["pilot"]["df"] == 3


@pytest.mark.parametrize(
    ("pilot", "values", "words"),
    [
        ("earlir", {("a", 0): 1.0}, "did you mean 'earlier'"),
        ("earlier", {("a", 0): 1.0, ("b", 0): 2.0}, "tell no spread"),
    ],
)
def test_a_pilot_that_tells_nothing_is_refused(
    pilot: str, values: dict[tuple[str, int], float], words: str, tmp_path: Path
) -> None:
    write_runs(tmp_path / "earlier", values)
    with pytest.raises(LavitError, match=r"power\.pilot") as caught:
        read_pilot(tmp_path, pilot, "caption/CIDEr")
    assert words in str(caught.value)
    with pytest.raises(LavitError, match="no run has a"):
        read_pilot(tmp_path, "earlier", "caption/CIDER2")
