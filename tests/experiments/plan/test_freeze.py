"""A frozen plan: written once, and every deviation from it named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.errors import LavitError
from experiments.freeze import deviations, freeze, frozen_path, frozen_state, plan_document
from experiments.plan import Plan

Plans = Callable[..., Plan]


def test_it_is_written_once_and_again_only_with_a_reason(plan: Plans) -> None:
    found = plan("study=quickstart")
    assert freeze(found).startswith("frozen: ")
    state = frozen_state(found)
    assert state is not None
    assert (state["deviations"], state["done_before"], state["history"]) == ([], [], [])
    with pytest.raises(LavitError, match="was frozen on"):
        freeze(found)
    with pytest.raises(LavitError, match="reason is empty"):
        freeze(found, " ")
    freeze(plan("study=quickstart", "study.seeds=4"), "reviewers asked for a fourth seed")
    state = frozen_state(found)
    assert state is not None
    assert state["deviations"] == ["seed missing: 3"]
    assert state["history"][0]["reason"] == "reviewers asked for a fourth seed"
    assert state["history"][0]["deviations"] == ["seed added: 3"]


def test_results_that_exist_already_are_warned_of_and_recorded(plan: Plans) -> None:
    found = plan("study=quickstart", is_done=lambda stage, key: True)
    assert "15 of 15 runs are done already" in freeze(found)
    assert json.loads(frozen_path(found).read_text())["done_before"][0] == "default · seed 0"


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (["study.seeds=[0,1,5]"], ["seed added: 5", "seed missing: 2"]),
        (["study.design=full"], ["design: one_at_a_time → full", "arm added: tokens=pooled, llm=frozen"]),
        (["llm=unfrozen"], ["arm missing: llm=frozen"]),
        (["study.headline=vqa/accuracy"], ["headline: caption/CIDEr → vqa/accuracy"]),
        (["study.family=['llm=frozen']"], ['family: none → ["llm=frozen"]']),
        (["study.margin=0.1"], ["margin: none → 0.1"]),
        (["study.hypothesis=more tokens help"], ["hypothesis: none → more tokens help"]),
        (["study.interactions=[[tokens,llm]]"], ['interactions: none → [["tokens", "llm"]]']),
        (["optimizer.lr=0.5"], ["optimizer.lr: ", " → 0.5 (every arm)"]),
        (["study.void=null"], ["void: [{"]),
    ],
)
def test_every_deviation_is_named(overrides: list[str], lines: list[str], plan: Plans) -> None:
    if overrides == ["study.void=null"]:
        overrides = [*overrides, "study.design=leave_one_out"]
    found = deviations(plan_document(plan("study=quickstart")), plan_document(plan("study=quickstart", *overrides)))
    for line in lines:
        assert any(line in said for said in found), found


def test_a_changed_level_is_a_deviation_of_its_arms_alone(plan: Plans) -> None:
    asked = "study.axes.rate={low: 'optimizer.lr=0.5', high: 'optimizer.lr=%s'}"
    old, new = (plan_document(plan("study=quickstart", asked % rate)) for rate in ("0.7", "0.9"))
    assert deviations(old, new) == ["optimizer.lr: 0.7 → 0.9 (rate=high)"]


def test_other_code_and_other_data_are_told_apart(plan: Plans) -> None:
    frozen = plan_document(plan("study=quickstart"))
    now = json.loads(json.dumps(frozen))
    for arm in now["arms"].values():
        arm["code"]["pretrain"] = "0123456789abcdef"
        for keys in arm["keys"].values():
            keys["pretrain"] = keys["evaluate"] = "f" * 16
    found = deviations(frozen, now)
    assert len(found) == 1
    assert "code of the stage pretrain: " in found[0]
    now = json.loads(json.dumps(frozen))
    for keys in now["arms"]["llm=frozen"]["keys"].values():
        keys["vision"] = keys["evaluate"] = "f" * 16
    assert deviations(frozen, now) == [
        "the stage vision has another key, with the same config and code: other data files (llm=frozen)"
    ]


def test_incidental_settings_are_no_deviation(plan: Plans) -> None:
    frozen = plan_document(plan("study=quickstart"))
    assert deviations(frozen, plan_document(plan("study=quickstart", "train.workers=7"))) == []


def test_the_command_line_freezes_and_refuses(
    shared_conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.planner.add_counts", lambda *_: "")  # a child process that loads torch
    asked = ["plan", "study=quickstart", f"runs={tmp_path}", "--conf", str(shared_conf)]
    assert main([*asked, "--freeze"]) == 0
    assert (tmp_path / "quickstart" / "plan.frozen.json").is_file()
    assert main([*asked, "--freeze"]) == 2
    assert "--refreeze REASON" in capsys.readouterr().err
    assert main([*asked, "study.seeds=4", "--refreeze", "one seed more"]) == 0
