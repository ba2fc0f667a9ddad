"""Matched budgets: steps that bring every arm to the price of one, seen by keys, commands and the confound guard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import cost
from experiments.confounds import find_confounds
from experiments.errors import LavitError
from experiments.plan import Plan

CHILD = """
import json, sys
answers = []
for q in json.load(sys.stdin):
    config, stage = q["config"], q["stage"]
    if stage not in ("pretrain", "cooldown"):
        answers.append({"params_total": 0, "ledger": {"flops": 5.0}})
        continue
    steps = config["cooldown" if stage == "cooldown" else "train"]["steps"]
    sequences = 20 if config["regime"]["generation"] else 10
    flops = steps * sequences * (6e9 if config["llm"]["trainable"] else 4e9)
    seen = steps * sequences
    answers.append({"ledger": {"flops": flops, "positions": seen * 30, "examples_text": seen}})
json.dump(answers, sys.stdout)
"""


@pytest.fixture(autouse=True)
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another module in the place of `lavit.count`: a trained LLM costs 6, a frozen one 4, an adapter half."""
    root = tmp_path / "source"
    root.mkdir()
    (root / "fake_count.py").write_text(CHILD)
    monkeypatch.setattr(cost, "MODULE", "fake_count")
    monkeypatch.setattr(cost, "source_root", lambda: root)
    return root / "fake_count.py"


def steps_of(plan: Plan) -> dict[str, tuple[int, int]]:
    return {run.arm: (run.config["train"]["steps"], run.config["cooldown"]["steps"]) for run in plan.runs}


def test_flops_are_matched_to_the_default(plan: Callable[..., Plan]) -> None:
    plain, found = plan("study=quickstart", count=True), plan("study=quickstart", "study.match={by: train_flops}")
    train, cooldown = steps_of(plain)["default"]
    matched = steps_of(found)
    assert matched["default"] == (train, cooldown) == matched["tokens=pooled"]
    assert matched["regime=adapter"] == (2 * train, 2 * cooldown)
    assert matched["llm=frozen"] == (round(1.5 * train), round(1.5 * cooldown))
    assert [arm.name for arm in found.design.arms] == [arm.name for arm in plain.design.arms]
    keys = [{run.arm: run.stage_keys["pretrain"] for run in p.runs if run.seed == 0} for p in (plain, found)]
    assert [arm for arm in keys[0] if keys[0][arm] != keys[1][arm]] == ["regime=adapter", "llm=frozen"]
    command = next(run.command for run in found.runs if run.arm == "llm=frozen")
    assert f"train.steps={round(1.5 * train)}" in command
    assert find_confounds(found) == []
    document = found.study_document()["match"]
    assert document["by"] == "train_flops"
    assert abs(document["arms"]["llm=frozen"]["residual"]) < 0.01
    assert f"llm=frozen: train.steps {round(1.5 * train)}" in found.render()


def test_positions_to_a_named_arm_and_fewer_steps(plan: Callable[..., Plan]) -> None:
    found = plan("study=quickstart", "study.match={by: positions, to: 'regime=adapter', steps: [train.steps]}")
    train, cooldown = steps_of(plan("study=quickstart"))["default"]
    assert steps_of(found)["default"] == (round(train * 0.5), cooldown)
    assert steps_of(found)["regime=adapter"] == (train, cooldown)
    assert [m.steps for m in found.matched if m.arm == "regime=adapter"] == [{}]


def test_examples_are_all_that_are_seen(plan: Callable[..., Plan]) -> None:
    found = plan("study=quickstart", "study.match={by: examples}")
    train, cooldown = steps_of(found)["default"]
    assert steps_of(found)["llm=frozen"] == (train, cooldown)
    assert steps_of(found)["regime=adapter"] == (2 * train, 2 * cooldown)


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ("5", "match: 5 is not a mapping"),
        ("{to: default}", "match.by: missing"),
        ("{by: flop}", "match.by: there is no budget 'flop'"),
        ("{by: positions, too: x}", "match.too: unknown key"),
        ("{by: positions, to: 3}", "match.to: 3 is not the name"),
        ("{by: positions, to: 'llm=frosen'}", "did you mean 'llm=frozen'"),
        ("{by: positions, steps: train.steps}", "match.steps: 'train.steps' is not a list"),
        ("{by: positions, steps: [tran.steps]}", "no stage of the arm 'default' reads tran.steps"),
    ],
)
def test_mistakes_are_named(match: str, words: str, plan: Callable[..., Plan]) -> None:
    with pytest.raises(LavitError, match=r"quickstart\.yaml: match") as error:
        plan("study=quickstart", f"study.match={match}")
    assert words in str(error.value)


def test_what_is_not_priced_cannot_be_matched(child: Path, plan: Callable[..., Plan]) -> None:
    child.write_text("raise SystemExit('broken')")
    with pytest.raises(LavitError, match=r"'pretrain' of the arm 'default' has no price: not priced: .* broken"):
        plan("study=quickstart", "study.match={by: positions}")


def test_an_arm_that_sets_its_own_steps_cannot_be_matched(plan: Callable[..., Plan]) -> None:
    axes = "study.axes.budget={key: train.steps, levels: [5, 9]}"
    with pytest.raises(LavitError, match=r"the arm '.*' sets train\.steps itself"):
        plan("study=quickstart", axes, "study.match={by: positions}")


def test_curves_are_read_without_training_anew(plan: Callable[..., Plan]) -> None:
    plain, found = plan("study=quickstart"), plan("study=quickstart", "study.match={by: tokens, how: curve}")
    assert [run.stage_keys for run in found.runs] == [run.stage_keys for run in plain.runs]
    assert found.study_document()["match"] == {"by": "tokens", "to": "default", "how": "curve"}


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ("{by: train_flops, how: curves}", "match.how.*'curves'"),
        ("{by: train_flops, how: curve, steps: [train.steps]}", "match.steps.*no steps are set"),
        ("{by: train_flops, how: curve, to: defualt}", "match.to.*defualt"),
    ],
)
def test_wrong_curves_are_refused(plan: Callable[..., Plan], match: str, why: str) -> None:
    with pytest.raises(LavitError, match=why):
        plan("study=quickstart", f"study.match={match}")


def test_the_dearer_of_two_branches_off_where_the_other_ends(plan: Callable[..., Plan]) -> None:
    found = plan("study=quickstart", "study.match={by: train_flops, how: branch}")
    steps = steps_of(found)
    train, cooldown = steps["default"]
    half, two_thirds = round(train / 2), round(train * 4 / 6)
    of = {(branch.of, branch.against): branch for branch in found.branches}
    assert set(of) == {("default", "regime=adapter"), ("default", "llm=frozen")}
    assert of["default", "regime=adapter"].at == half and of["default", "llm=frozen"].at == two_thirds
    configs = {run.arm: run for run in found.runs if run.seed == 0}
    branch = configs[of["default", "regime=adapter"].arm]
    assert branch.config["cooldown"] == configs["default"].config["cooldown"] | {
        "at": half,
        "steps": max(1, round(cooldown * half / train)),
    }
    assert branch.stage_keys["pretrain"] == configs["default"].stage_keys["pretrain"], "one trunk"
    assert branch.stage_keys["cooldown"] != configs["default"].stage_keys["cooldown"]
    assert configs["default"].config["train"]["branches"] == sorted([half, two_thirds])
    document = found.study_document()
    assert [b["arm"] for b in document["match"]["branches"]] == [b.arm for b in found.branches]
    assert find_confounds(found) == []
    assert "second cool-down" in found.render()


def test_several_budgets_branch_off_one_trunk(plan: Callable[..., Plan]) -> None:
    found = plan("study=quickstart", "study.match={by: [train_flops, positions], how: branch}")
    by = {(branch.by, branch.against): branch for branch in found.branches}
    assert set(by) == {
        ("train_flops", "regime=adapter"),
        ("train_flops", "llm=frozen"),
        ("positions", "regime=adapter"),
    }
    assert by["positions", "regime=adapter"].arm == by["train_flops", "regime=adapter"].arm, "one step, one branch"
    assert len([arm for arm in found.design.arms if "branch" in arm.name]) == 2
    with pytest.raises(LavitError, match=r"match\.by.*'hours'"):
        plan("study=quickstart", "study.match={by: [train_flops, hours], how: branch}")
    with pytest.raises(LavitError, match=r"match\.by"):
        plan("study=quickstart", "study.match={by: [train_flops, positions]}")
