"""What a stage is priced at is what it then measures: the plan and the ledger are counted by the same code."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_stages import Stages, question, whole

from lavit.count import count, probe
from lavit.pricing.shapes import Shapes, step_bytes
from lavit.pricing.trial import evenly, kept_places, sampled_steps

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("stage", ["vision", "language", "tokenizer", "pixels", "pretrain"])
def test_the_price_is_what_the_stage_measures(stage: str, stages: Stages) -> None:
    price = count(question(whole(), stage))
    measured = stages.ledger(whole(), stage)
    assert price["ledger"] == pytest.approx(measured, rel=1e-9)
    assert price["params_total"] == measured["params_total"] > 0
    held = price["memory"]
    assert held["peak"] == held["parameters"] + held["moments"] + held["data"] + max(held["step"], held["gradients"])


@pytest.mark.parametrize(
    ("groups", "stage"),
    [
        ({"regime": "omni"}, "pretrain"),
        ({"regime": "joint_text", "visual_input": "discrete"}, "tune"),
        ({"regime": "align_sft", "llm": "frozen"}, "pretrain"),
        ({"regime": "align_sft"}, "tune"),
        ({"regime": "omni", "target": "continuous"}, "cooldown"),
        ({"target": "none", "visual_input": "discrete"}, "pretrain"),
    ],
)
def test_every_stage_of_a_recipe_is_priced_at_what_it_measures(
    groups: dict[str, str], stage: str, stages: Stages
) -> None:
    config = whole("train.vision.start=0.25", **groups)
    assert count(question(config, stage))["ledger"] == pytest.approx(stages.ledger(config, stage), rel=1e-9)


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_the_way_of_batching_costs_nothing_in_the_ledger(batching: str, stages: Stages) -> None:
    config = whole(f"train.batching={batching}", "train.row=96")
    ledger, bucketed = stages.ledger(config, "pretrain"), stages.ledger(whole(), "pretrain")
    assert ledger == pytest.approx(bucketed, rel=1e-9)
    assert count(question(config, "pretrain"))["ledger"] == pytest.approx(ledger, rel=1e-9)


def test_a_cooldown_goes_on_with_the_same_prices() -> None:
    trunk, cooldown = (count(question(whole(), stage)) for stage in ("pretrain", "cooldown"))
    assert cooldown["ledger"]["steps"] == 2
    assert cooldown["ledger"]["examples_understanding"] * 2 == trunk["ledger"]["examples_understanding"]
    assert cooldown["ledger"]["flops"] == pytest.approx(trunk["ledger"]["flops"] / 2, rel=0.1)
    assert cooldown["memory"] == trunk["memory"]


def test_frozen_costs_less_and_dynamic_follows_the_keep_rate() -> None:
    full, frozen = (count(question(whole(llm=llm), "pretrain")) for llm in ("unfrozen", "frozen"))
    assert frozen["params_total"] == full["params_total"]
    assert frozen["params_trainable"] < full["params_trainable"]
    assert 4 / 6 < frozen["ledger"]["flops"] / full["ledger"]["flops"] < 1  # 4nP instead of 6nP where it is frozen
    assert frozen["memory"]["gradients"] < full["memory"]["gradients"]
    assert frozen["memory"]["moments"] < full["memory"]["moments"]
    dynamic = count(question(whole(tokens="dynamic"), "pretrain"))["ledger"]
    images = dynamic["examples_generation"]
    assert dynamic["supervised_visual_positions"] / images == pytest.approx(1 + 0.37 * 16, abs=0.2)
    assert "flops" in count(question(whole(tokens="dynamic"), "tokenizer"))["ledger"]


def test_memory_on_the_meta_device_is_that_of_a_real_step() -> None:
    from lavit.pricing import text, visual

    config = whole(tokens="dynamic")
    for build, stage in ((visual.vision, "vision"), (visual.tokenizer, "tokenizer"), (text.arm, "pretrain")):
        asked = question(config, stage)
        found = []
        for device in ("meta", "cpu"):
            trial = build(asked["config"], dict(asked["inputs"]), device)
            batch = trial.module.batch(1)
            found.append(step_bytes(lambda trial=trial, batch=batch: trial.module.loss(batch, 1)[0]))
        assert found[0] == pytest.approx(found[1], rel=0.15), stage


def test_a_probe_times_real_steps() -> None:
    assert 0 < probe(question(whole(), "pixels"))["seconds_per_step"] < 1
    assert probe({"run": "evals.stage.run", "config": {}}) == {}


def test_stages_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_stage")
    monkeypatch.setitem(sys.modules, "my_stage", module)
    asked = {"stage": "mine", "run": "my_stage.run", "config": {"mine": {"steps": 7}}}
    assert count(asked) == {}
    module.price = lambda config, inputs: {"params_total": 5, "ledger": {"flops": config["mine"]["steps"] * 10}}
    assert count(asked) == {"params_total": 5, "ledger": {"flops": 70}}
    module.price = lambda config, inputs: 3
    with pytest.raises(Exception, match=r"my_stage\.price returned 3, not a mapping"):
        count(asked)
    assert count({"stage": "x", "run": "nowhere.to.be.found", "config": {}}) == {}
    assert count({"stage": "evaluate", "run": "evals.stage.run", "config": {}})["params_total"] == 0


def test_shapes_alone_run_ragged_code() -> None:
    weight_WC = torch.nn.Parameter(torch.empty(8, 4, device="meta"))
    mask_B = torch.tensor([True, False, True])

    def step() -> None:
        x_BC = torch.empty(3, 4, device="meta")
        hidden_RW = torch.nn.functional.gelu(x_BC[mask_B] @ weight_WC.T)
        assert hidden_RW.shape == (2, 8)
        assert hidden_RW[hidden_RW > 0].shape == (16,)  # a mask without values chooses everything
        assert torch.arange(3, device="meta").tolist() == [0, 1, 2]
        hidden_RW.sum()

    with Shapes():
        step()
    matrix = torch.nn.Parameter(torch.empty(100, 100))
    held = step_bytes(lambda: (matrix * 2).exp().sum())
    assert 2 * 40_000 <= held <= 4 * 40_000  # a product or its gradient, the exponential, the matrix' own gradient


def test_small_helpers() -> None:
    assert sorted(evenly(2.5, 4).tolist()) == [2, 2, 3, 3]
    assert set(evenly(5.92, 1000).tolist()) == {5, 6}
    assert list(sampled_steps(3, 8)) == [0, 1, 2]
    assert len(sampled_steps(1000, 8)) == 32
    assert len(sampled_steps(1000, 5000)) == 2
    keep = {"keep": {"rate": 0.25}}
    assert kept_places({"selector": {"_target_": "a.TokenSelector", "budget": None}}, keep, 16) == 4
    assert kept_places({"selector": {"_target_": "a.TokenSelector", "budget": 6}}, keep, 16) == 6
    assert kept_places({"selector": {"_target_": "a.KeepAll"}}, keep, 16) == 16
    assert kept_places({"selector": {"_target_": "a.KeepRandom", "mean": 5}}, keep, 16) == 5


def test_it_ends_when_whoever_asked_is_killed(tmp_path: Path) -> None:
    """A plan that is killed must leave nobody behind who goes on pricing for minutes."""
    child = (
        "import os, pathlib, sys, time; from lavit.count import die_with_parent; die_with_parent(); "
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    )
    mark = tmp_path / "pid"
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    parent = subprocess.Popen([sys.executable, "-c", script, child, mark])
    wait_until(lambda: mark.exists() and mark.read_text() != "")
    pid = int(mark.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(pid))


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
