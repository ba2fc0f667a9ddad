"""What a run came to where its training is several stages: one curve, and only the cost that led to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.plan import Run
from experiments.run_results import curve_points, run_entry
from experiments.store import Store
from experiments.tracked_run import _histories

STEPS, FLOPS = {"pretrain": 40, "cooldown": 10}, 2.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A trunk of 40 steps with its state at step 20, and cool-downs of 10 steps from there and from its end."""
    for stage, key, first, count in (("pretrain", "a", 0, 40), ("cooldown", "b", 40, 10), ("cooldown", "c", 20, 10)):
        folder = tmp_path / "store" / stage / key
        folder.mkdir(parents=True)
        steps = range(first + 10, first + count + 1, 10)
        lines = [{"step": step, "flops": FLOPS * step, "train/loss": 1 / step} for step in steps]
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "ledger.json").write_text(json.dumps({"flops": FLOPS * count, "steps": count}))
    (tmp_path / "store/pretrain/a/branch-20.json").write_text(json.dumps({"flops": FLOPS * 20, "steps": 20}))
    store = Store(tmp_path)
    for stage, key in (("pretrain", "a"), ("cooldown", "b"), ("cooldown", "c")):
        store.finish(stage, key, wall_s=8.0, cpu_s=8.0)
    return store


def run(cooldown: str, at: int | None) -> Run:
    config = {"train": {"steps": 40}, "cooldown": {"steps": 10, "at": at}}
    return Run("default", 0, {}, [], config, {"pretrain": "a", "cooldown": cooldown})


def test_steps_of_a_cool_down_go_on_from_its_trunk_in_mlflow(store: Store) -> None:
    points = [(step, value) for name, value, step, _ in _histories(store, run("b", None)) if name == "train/loss"]
    assert [step for step, _ in points] == [10, 20, 30, 40, 50]
    assert points[-1][1] == pytest.approx(1 / 50)


def test_a_branch_has_the_curve_and_the_cost_that_led_to_its_end(store: Store) -> None:
    branch = run("c", 20)
    assert [(stage, step) for stage, step, *_ in curve_points(store, branch)] == [
        ("pretrain", 10),
        ("pretrain", 20),
        ("cooldown", 30),
    ]
    assert run_entry(store, branch)["ledgers"] == {
        "pretrain": {"flops": 40.0, "steps": 20},
        "cooldown": {"flops": 20.0, "steps": 10},
    }
    assert run_entry(store, run("b", None))["ledgers"]["pretrain"]["flops"] == 80.0
