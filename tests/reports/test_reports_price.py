"""Plan against actual: each distinct stage once, what is far off flagged, matched budgets as they were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from synthetic_study import write_study

from reports.audit import audit
from reports.frame import load
from reports.price import matched_budgets, plan_against_actual
from reports.results import analyse


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished study whose pretrain stages share keys over seeds, priced 25 % below what they measured."""
    folder = tmp_path / "study"
    write_study(folder)
    body = json.loads((folder / "runs.json").read_text())
    jobs: dict[str, dict] = {}
    for run in body["runs"]:
        key = f"key-{run['arm']}"
        run["stage_keys"] = {"pretrain": key}
        run["wall_s"] = {"pretrain": 50.0}
        ledger = run["ledgers"]["pretrain"]
        planned = {"flops": ledger["flops"] * 0.8, "steps": ledger["steps"]}
        jobs[key] = {
            "stage": "pretrain",
            "key": key,
            "ledger": planned,
            "seconds_at_launch": 48.0,
            "seconds_at_launch_from": "measured (3)",
        }
        run["ledgers"] = {"pretrain": body["runs"][0]["ledgers"]["pretrain"] if run["arm"] == "default" else ledger}
    body["plan"]["jobs"] = list(jobs.values())
    (folder / "runs.json").write_text(json.dumps(body))
    return folder


def test_planned_and_measured_are_told_once_a_key(study: Path) -> None:
    found = {compared.item: compared for compared in plan_against_actual(load(study))}
    assert found["FLOPs"].jobs == 5  # arms, not arms times seeds
    assert found["FLOPs"].difference == pytest.approx(0.25, abs=0.05)
    assert found["FLOPs"].flagged
    assert not found["steps"].flagged
    assert (found["seconds"].planned, found["seconds"].measured, found["seconds"].basis) == (240.0, 250.0, "measured")
    check = next(check for check in audit(analyse(load(study))) if check.name == "Plan and actual cost")
    assert check.state == "warn"
    assert "pretrain, FLOPs" in check.text
    assert "seconds 240.0 planned (measured), 250.0 measured (+4.2%)" in check.items[0]


def test_without_prices_nothing_is_compared(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    frame = load(tmp_path / "study")
    assert plan_against_actual(frame) == []
    assert matched_budgets(frame) == []
    assert "Plan and actual cost" not in [check.name for check in audit(analyse(frame))]


def test_matched_budgets_are_measured(study: Path) -> None:
    body = yaml.safe_load((study / "study.yaml").read_text())
    arms = {arm: {"residual": 0.001} for arm in body["arms"]}
    body["match"] = {"by": "train_flops", "to": "default", "arms": arms}
    (study / "study.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    runs = json.loads((study / "runs.json").read_text())
    for run in runs["runs"]:
        run["ledgers"]["pretrain"]["flops"] = {"default": 100.0, "llm=frozen": 110.0}.get(run["arm"], 101.0)
    (study / "runs.json").write_text(json.dumps(runs))
    found = {budget.arm: budget for budget in matched_budgets(load(study))}
    assert found["llm=frozen"].measured == pytest.approx(0.10)
    assert [arm for arm, budget in found.items() if budget.flagged] == ["llm=frozen"]
    check = next(check for check in audit(analyse(load(study))) if check.name == "Matched budgets")
    assert (check.state, check.items[-1]) == ("warn", "llm=frozen: +0.1% planned, +10.0% measured")
