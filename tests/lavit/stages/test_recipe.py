"""Recipes: every regime trains as it says, and cool-downs branch off one trunk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_stages import CONF, STEPS, Stages, read, whole

import lavit.model
from lavit.errors import LavitError
from lavit.stages.recipe import Phase, Recipe

REGIMES = sorted(path.stem for path in (CONF / "regime").glob("*.yaml"))


@pytest.mark.parametrize("name", REGIMES)
def test_a_recipe_covers_train_steps_once(name: str) -> None:
    recipe = Recipe.read(OmegaConf.load(CONF / "regime" / f"{name}.yaml"), 101)
    steps = [step for phase in recipe.phases for step in recipe.span(phase.name)]
    assert steps == list(range(101))


def test_regimes_with_the_same_pairs_see_equally_many() -> None:
    train = OmegaConf.create({"captions": 8, "questions": 8, "text": 2, "generation": 0, "steps": 100})
    train.vision = {"start": 0.0, "ratio": 1.0}
    seen = {}
    for name in ("sft_only", "joint_text", "omni"):
        recipe = Recipe.read(OmegaConf.load(CONF / "regime" / f"{name}.yaml"), 100)
        counts = [phase.counts(train, s) for phase in recipe.phases for s in recipe.span(phase.name)]
        seen[name] = [sum(count[kind] for count in counts) for kind in ("captions", "questions")]
    assert seen["sft_only"] == seen["joint_text"] == seen["omni"] == [800, 800]


def test_images_come_late_and_thin_and_text_takes_their_place() -> None:
    node = {"share": 1.0, "generation": True, "mix": {}, "learns": ["llm"], "lr": {}}
    phase = Phase.read({"pretrain": node}, "pretrain")
    train = {
        "captions": 4,
        "questions": 4,
        "text": 2,
        "generation": 8,
        "steps": 10,
        "vision": {"start": 0.5, "ratio": 0.25},
    }
    assert phase.counts(train, 4) == {"captions": 0, "questions": 0, "generation": 0, "text": 18}
    assert phase.counts(train, 5) == {"captions": 1, "questions": 1, "generation": 2, "text": 14}


@pytest.mark.parametrize(("key", "value"), [("mix", {"captoins": 1}), ("learns", ["llms"]), ("lr", {"heads": 1})])
def test_a_slip_in_a_recipe_is_named(key: str, value: object) -> None:
    node = {"share": 1.0, "generation": True, "mix": {}, "learns": [], "lr": {}, key: value}
    with pytest.raises(LavitError, match=rf"regime\.tune\.{key} names"):
        Phase.read({"tune": node}, "tune")


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param({"regime": "omni"}, marks=pytest.mark.slow),
        {"regime": "joint_text", "visual_input": "discrete", "target": "continuous"},
        pytest.param({"regime": "align_sft", "llm": "frozen"}, marks=pytest.mark.slow),
    ],
    ids=lambda groups: groups["regime"],
)
def test_a_recipe_of_two_stages_ends_in_an_arm_that_works(groups: dict[str, str], stages: Stages) -> None:
    arm = lavit.model.load(stages.arm(whole(**groups)))
    images = arm.encode(torch.zeros(2, 32, 32, 3, dtype=torch.uint8).numpy())
    assert len(arm.caption(images, 2)) == 2
    assert arm.makes_images is (groups["regime"] != "align_sft")


def test_alignment_leaves_the_llm_alone_and_tuning_does_not(stages: Stages) -> None:
    config = whole(regime="align_sft")
    before, aligned, tuned = (
        load_file(path)
        for path in (
            stages.run(config, "language") / "llm.safetensors",
            stages.run(config, "pretrain") / "model.safetensors",
            stages.run(config, "tune") / "model.safetensors",
        )
    )
    assert all(torch.equal(aligned[f"llm.{name}"], value) for name, value in before.items())
    assert not torch.equal(tuned["llm.lm_head.weight"], before["lm_head.weight"])
    assert not torch.equal(aligned["connector.0.weight"], tuned["connector.0.weight"])


def test_targets_share_a_pre_training_without_a_visual_loss() -> None:
    one, other = (read(whole(regime="joint_text", target=target), "pretrain") for target in ("discrete", "continuous"))
    assert one == other
    assert read(whole(regime="omni"), "pretrain") != read(whole(regime="omni", target="continuous"), "pretrain")


def test_a_cool_down_branches_off_a_longer_trunk(stages: Stages, tmp_path: Path) -> None:
    half = STEPS["pretrain"] // 2
    branch = whole(f"train.branches=[{half}]", f"cooldown.at={half}")
    short = whole(f"train.steps={half}")
    ends = [stages.run(config, "cooldown") for config in (branch, short)]
    first, second = (load_file(folder / "model.safetensors") for folder in ends)
    assert all(torch.equal(first[name], second[name]) for name in second), "as if the trunk had ended there"
    spent = [json.loads((folder / "metrics.json").read_text())["flops"] for folder in ends]
    assert spent[0] == spent[1], "and at the same cost"
    other = Stages(tmp_path)
    other.folders = dict(stages.folders)
    with pytest.raises(LavitError, match=rf"cooldown\.at={half + 1}.*it has: {half}"):
        other.run(whole(f"train.branches=[{half}]", f"cooldown.at={half + 1}"), "cooldown")
