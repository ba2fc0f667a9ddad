"""The rules that ship: each by a combination that it judges and a neighbour that it does not, and all at random.

Combinations are made by the shipped config groups, so that a level that is renamed is noticed here.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.compose import Composer, config_folder
from experiments.errors import LavitError
from experiments.plan import Plan
from experiments.planner import Planner
from experiments.ruled import facts
from experiments.rules import Rule, apply_rules, judge, read_rules
from experiments.study import Study

UNMATCHED = "++study.match=null"  # branches need prices, which take minutes
RULES = {rule.id: rule for rule in read_rules(config_folder())}
#: Rule -> overrides of a combination that it is about, and overrides of a neighbour that it leaves alone.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "V1": (["target=none"], ["target=continuous"]),
    "V1-order": (["train.generation=0"], ["train.generation=1"]),
    "V1-adapter": (["regime=adapter"], ["regime=unified"]),
    "V1-stages": (["regime=align_sft"], ["regime=joint_text"]),
    "V1-later": (["regime=joint_text"], ["regime=omni"]),
    "V2-target": (["tokenizer.quantise=false"], ["tokenizer.quantise=false", "target=continuous"]),
    "V2-input": (["tokenizer.quantise=false", "target=continuous", "visual_input=discrete"], ["visual_input=discrete"]),
    "V3": (["visual_input=discrete"], ["visual_input=continuous"]),
    "V4": (["entry=gated"], ["entry=gated", "regime=adapter"]),
    "V8": (["connector=causal_former", "tokens=fixed", "target=emu", "target.stop_gradient=false"],
           ["connector=causal_former", "tokens=fixed", "target=emu"]),
    "V8-producer": (["connector=causal_former", "tokens=fixed", "target=emu"], ["target=cosine"]),
    "V8-control": (["connector=causal_former", "tokens=fixed", "target=collapse"],
                   ["connector=causal_former", "tokens=fixed", "target=emu"]),
    "V8-connector": (["tokens=fixed", "target=emu"], ["tokens=fixed", "target=emu", "connector=causal_former"]),
    "V8-input": (["tokens=fixed", "target=emu", "visual_input=discrete"],
                 ["tokens=fixed", "target=emu", "connector=causal_former"]),
    "V9": (["connector=c_abstractor"], ["connector=c_abstractor", "tokens=fixed"]),
    "V10": (["target=continuous", "target.end=full"], ["target=continuous", "target.end=full", "tokens=pooled"]),
    "V11": (["target=feature"], ["target=feature", "tokens=pooled"]),
    "V12": (["llm_init=scratch", "llm=frozen"], ["llm_init=scratch", "llm=unfrozen"]),
    "V12-sft": (["llm_init=scratch", "regime=sft_only"], ["llm_init=scratch", "regime=omni"]),
    "V12-align": (["llm_init=scratch", "regime=align_sft"], ["regime=align_sft"]),
    "V13": (["vision.steps=0"], ["vision.steps=1"]),
    "V15": (["llm=frozen"], ["llm=frozen", "regime=adapter"]),
    "V17": (["connector=align_vlm", "llm_init=scratch"], ["connector=align_vlm"]),
    "V18": (["suite.benchmarks.t2i.draw.guidance=1.5"], ["suite.benchmarks.t2i.draw.guidance=1.5", "regime=adapter"]),
    "V21": (["train.text=0"], ["train.text=0", "llm=frozen"]),
    "V23": (["entry=gated", "regime=adapter"], ["entry=in_sequence", "regime=adapter"]),
    "merger": (["tokens=pooled"], ["tokens=dynamic"]),
    "tokenizer": (["tokenizer=seed"], ["tokenizer=lavit"]),
    "buckets": (["train.batching=buckets"], ["train.batching=packed"]),
    "padded": (["train.batching=padded"], ["train.batching=buckets"]),
    "devices": (["trainer=single"], ["trainer=ddp"]),
}  # fmt: skip
MATCHED = {"V23"}  # rules about a study that matches positions


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def study(match: Any = None) -> Study:
    return Study("s", "?", "full", {}, (), (0,), None, {}, match=match)


def met(rule: Rule, composer: Composer, overrides: list[str]) -> bool:
    """Whether a rule is met by a config as a plan meets it."""
    from experiments.match import Match

    ruled = apply_rules(composer.resolved(overrides, 0)[0], list(RULES.values()))
    config = facts(ruled.config, study(Match("positions") if rule.id in MATCHED else None))
    return rule in ruled.fired or rule in judge(config, [rule], "illegal") + judge(config, [rule], "limited")


def test_every_rule_has_its_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", list(CASES))
def test_a_rule_judges_its_combination_and_leaves_the_neighbour(name: str, composer: Composer) -> None:
    combination, neighbour = CASES[name]
    assert met(RULES[name], composer, combination)
    assert not met(RULES[name], composer, neighbour)


def test_guidance_two_stages_and_text_are_judged_by_what_they_mean(composer: Composer) -> None:
    assert not met(RULES["V18"], composer, []), "1.0 is no guidance"
    assert met(RULES["V15"], composer, ["llm=new_rows"])
    assert not met(RULES["V15"], composer, ["llm=frozen", "target=none"])
    assert not met(RULES["V13"], composer, ["scale=7b"]), "there the encoder has published weights"
    assert met(RULES["V1-stages"], composer, ["regime=joint_text", "target=none"])


@pytest.mark.parametrize("connector", ["resampler", "qformer", "qformer_two_stage", "c_abstractor", "pixel_shuffle",
                                       "causal_former", "windows"])  # fmt: skip
@pytest.mark.parametrize("tokens", ["dynamic", "pooled"])
def test_connectors_that_see_an_image_whole_need_all_of_it(connector: str, tokens: str, composer: Composer) -> None:
    assert met(RULES["V9"], composer, [f"connector={connector}", f"tokens={tokens}"])
    assert not met(RULES["V9"], composer, [f"connector={connector}", "tokens=fixed"])
    assert not met(RULES["V9"], composer, [f"connector={connector}", f"tokens={tokens}", "visual_input=discrete"])


def test_v9_names_every_connector_that_sees_an_image_whole(composer: Composer) -> None:
    from lavit.build import locate
    from lavit.connectors.image import ImageConnector

    found = set()
    for name in composer.options("connector"):
        target = composer.read_file("connector", name)[0]["_target_"]
        if issubclass(locate(target), ImageConnector):
            found.add(target)
    assert found == set(RULES["V9"].when["connector._target_"])


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    """One for all plans, since it keeps what it has composed."""
    return Planner(None, tmp_path_factory.mktemp("runs"), lambda *_: False, count=False)


def plan_axes(planner: Planner, axes: dict[str, list[str]], design: str = "full") -> Plan:
    """The plan of a study with these axes; lavit_paper lends the rest of its file."""
    written = ", ".join(f"{axis}: [{', '.join(levels)}]" for axis, levels in axes.items())
    gone = [f"~study.axes.{axis}" for axis in ("regime", "tokens", "target", "llm") if axis not in axes]
    more = ["~study.void", f"study.design={design}", "study.seeds=1"]
    return planner.plan_study(["study=lavit_paper", *more, *gone, f"study.axes={{{written}}}"])


def test_four_binary_axes_are_twelve_trainings_without_a_rule_of_the_study(planner: Planner) -> None:
    axes = {"regime": ["unified", "adapter"], "tokens": ["dynamic", "fixed"], "target": ["discrete", "continuous"],
            "llm": ["unfrozen", "frozen"]}  # fmt: skip
    plan = plan_axes(planner, axes)
    assert len({tuple(run.stage_keys.values()) for run in plan.runs}) == len(plan.arms) == 12
    assert [(removed.void.label, len(removed.arms)) for removed in plan.design.removed] == [("merged", 4)]
    assert "rule V1-adapter" in plan.design.removed[0].void.why


def test_a_connector_is_no_choice_where_codes_enter(planner: Planner) -> None:
    plan = plan_axes(planner, {"visual_input": ["continuous", "discrete"], "connector": ["mlp", "linear"]})
    assert list(plan.arms) == ["default", "connector=linear", "visual_input=discrete"]
    assert plan.design.removed[0].void.describe() == "visual_input=discrete & connector=linear"


GROUPS = {
    "regime": ["unified", "adapter", "sft_only", "joint_text", "omni", "align_sft"],
    "tokens": ["dynamic", "fixed", "pooled", "random", "all"],
    "target": ["discrete", "continuous", "none"],
    "visual_input": ["continuous", "discrete"],
    "connector": ["mlp", "linear"],
    "llm": ["unfrozen", "frozen"],
    "llm_init": ["pretrained", "scratch"],
    "merger": ["causal", "mean", "none"],
}


@st.composite
def axes_of_groups(draw: Any) -> dict[str, list[str]]:
    """Two or three groups with two or three of their levels each, in any order."""
    names = draw(st.permutations(sorted(GROUPS)))[: draw(st.integers(2, 3))]
    return {name: list(draw(st.permutations(GROUPS[name])))[: draw(st.integers(2, 3))] for name in names}


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes_of_groups(), st.sampled_from(["full", "one_at_a_time"]))
def test_any_study_is_planned_or_refused_by_a_rule(planner: Planner, axes: dict[str, list[str]], design: str) -> None:
    """Planned arms are all distinct, and what is not planned has its reason."""
    try:
        plan = plan_axes(planner, axes, design)
    except LavitError as error:
        if "(rule V" in error.message:
            return
        raise
    keys = [tuple(run.stage_keys.items()) for run in plan.runs]
    assert len(set(keys)) == len(keys)
    if design == "full":
        cells = set(itertools.product(*axes.values()))
        planned = {tuple(arm.cell[axis] for axis in axes) for arm in plan.design.arms}
        removed = {tuple(levels[axis] for axis in axes) for gone in plan.design.removed for levels in gone.arms}
        assert planned | removed == cells
        assert not planned & removed
    assert all("(rule " in gone.void.why for gone in plan.design.removed)


@pytest.mark.parametrize(("name", "arms", "seeds"), [("omni_vs_sft", 14, 5), ("input_vs_target", 6, 3),
    ("connectors", 9, 3), ("dynamic_length", 9, 3), ("order", 3, 3), ("text_share", 3, 3), ("vision_timing", 9, 3),
])  # fmt: skip
@pytest.mark.parametrize(
    "scale", ["quick", "7b", *(pytest.param(name, marks=pytest.mark.slow) for name in ("smoke", "standard"))]
)
def test_the_studies_of_the_families_are_planned_at_every_scale(
    name: str, arms: int, seeds: int, scale: str, planner: Planner
) -> None:
    plan = planner.plan_study([f"study={name}", f"scale={scale}", UNMATCHED])
    assert (len(plan.arms), len(plan.runs)) == (arms, arms * seeds)
    assert plan.study.hypothesis
    assert bool(plan.planned_only) == (scale == "7b")
    assert all(removed.void.label == "void" for removed in plan.design.removed), "the file says what it leaves out"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arms"), [("input_vs_target", 6), ("connectors", 9), ("dynamic_length", 9)])
@pytest.mark.parametrize("scale", ["quick", "7b"])
def test_budgets_of_the_families_are_matched_by_branches(name: str, arms: int, scale: str, planner: Planner) -> None:
    plan = planner.plan_study([f"study={name}", f"scale={scale}"])
    trained = [arm.name for arm in plan.design.arms if not arm.name.endswith(tuple("0123456789"))]
    assert len(trained) == arms
    assert plan.branches
    assert {branch.arm for branch in plan.branches} == {arm.name for arm in plan.design.arms} - set(trained)


def test_the_core_grid_leaves_out_four_cells_of_eighteen(planner: Planner) -> None:
    plan = planner.plan_study(["study=omni_vs_sft", UNMATCHED])
    per_regime = [arm.levels["regime"] for arm in plan.design.arms]
    assert {regime: per_regime.count(regime) for regime in per_regime} == {"omni": 4, "joint_text": 4, "sft_only": 6}
    late = {run.stage_keys["pretrain"] for run in plan.runs if run.levels["regime"] == "joint_text"}
    assert len(late) == 2 * 5, "what comes before a late visual loss is trained once for an input and seed"


def test_budgets_follow_the_scale(planner: Planner) -> None:
    def means(scale: str) -> list[tuple[float, float]]:
        runs = planner.plan_study(["study=dynamic_length", f"scale={scale}", UNMATCHED]).runs
        pooled = [run.config for run in runs if run.levels["tokens"] == "pooled" and run.seed == 0]
        return [(config["tokens"]["mean"], config["tokenizer"]["keep"]["rate"]) for config in pooled]

    assert means("quick") == [(4, 0.25), (2, 0.125), (8, 0.5)]
    assert means("standard") == [(25, 0.25), (12, 0.12), (50, 0.5)]
