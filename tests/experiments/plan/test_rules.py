"""Rules over configs: read from a file, applied before keys are made, and met by the arms of any design."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.compose import Composer
from experiments.confounds import find_confounds
from experiments.errors import LavitError
from experiments.plan import Plan, make_plan, single_arm_plan
from experiments.planner import Planner
from experiments.rules import Rule, apply_rules, judge, read_rules

ILLEGAL = """
- id: X1
  when: {tokens.name: pooled, llm.name: frozen}
  verdict: illegal
  why: a frozen LLM cannot read averages
  instead: set llm=unfrozen
"""
LIMITED = """
- id: X2
  when: {llm.name: frozen, target.name: {not: continuous}}
  verdict: limited
  why: only the head learns
"""

Planned = Callable[..., Plan]


@pytest.fixture(scope="module")
def planner(shared_conf: Path, composer: Composer) -> Planner:
    """One for all tests, since it keeps what it has composed."""
    made = Planner(shared_conf, shared_conf.parent / "runs", lambda *_: False, count=False)
    made.composer = composer
    return made


@pytest.fixture
def planned(planner: Planner, tmp_path: Path) -> Planned:
    """Plans under the one rule of the config folder and further ones."""
    own = planner.rules

    def make(*overrides: str, rules: str = "") -> Plan:
        (tmp_path / "rules.yaml").write_text(rules or "[]")
        planner.rules = (*own, *read_rules(tmp_path))
        planner._prepared.clear()
        try:
            return planner.plan_study(overrides)
        finally:
            planner.rules = own

    return make


def rule(**keys: Any) -> Rule:
    return Rule(**{"id": "r", "when": {}, "verdict": "void", "why": "w", **keys})


def test_void_rules_drop_what_means_nothing() -> None:
    drops = rule(when={"regime.name": ["adapter", "joint"], "on": True}, drop=("target", "train.share"))
    config = {"regime": {"name": "adapter"}, "on": True, "target": 1, "train": {"share": 2, "steps": 3}}
    found = apply_rules(config, [drops])
    assert found.config == {"regime": {"name": "adapter"}, "on": True, "train": {"steps": 3}}
    assert (found.dropped, found.unread, found.fired) == (["target", "train.share"], {}, [drops])
    assert apply_rules({**config, "on": False}, [drops]).fired == []
    assert apply_rules({"target": 1}, [drops]).fired == [], "a key that is absent matches nothing"


def test_void_rules_set_values_that_later_rules_see() -> None:
    config = {"on": True, "target": 1, "train": {"share": 2}, "regime": 3}
    sets = rule(when={"on": True}, set={"train.share": 9, "no.such": 1}, drop=("target",), stages=("first",))
    follows = rule(when={"train.share": 9}, drop=("regime",))
    found = apply_rules(config, [sets, follows])
    assert found.config == {"on": True, "target": 1, "train": {"share": 9}}
    assert (found.dropped, found.unread) == (["regime"], {"first": ["target"]}), "only that stage does not read it"
    assert apply_rules(config, [follows, sets]).dropped == []


def test_not_holds_where_the_key_is_there_with_another_value() -> None:
    limited = rule(verdict="limited", when={"a.b": {"not": [1, None]}})
    assert judge({"a": {"b": 2}}, [limited], "limited") == [limited]
    for config in ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}, {"a": 2}, {}):
        assert judge(config, [limited], "limited") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{a: 1}", "not a list"),
        ("- {when: {a: 1}}", "rule 1"),
        ("- {id: A, when: {a: 1}, verdict: ilegal, why: w}", "did you mean 'illegal'"),
        ("- {id: A, when: {a: 1}, verdict: illegal}", "(A): why"),
        ("- {id: A, when: {}, verdict: illegal, why: w}", "(A): when"),
        ("- {id: A, when: {a: {no: 1}}, verdict: illegal, why: w}", "{not: ...}"),
        ("- {id: A, when: {a: 1}, verdict: void, why: w}", "drops and sets nothing"),
        ("- {id: A, when: {a: 1}, verdict: limited, why: w, drop: [a]}", "drop of a rule that is limited"),
        ("- {id: A, when: {a: 1}, verdict: illegal, why: w, wen: 1}", "did you mean 'when'"),
        ("- {id: A, when: {a: 1}, verdict: illegal, why: w}\n" * 2, "two rules are called A"),
        ("- [", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_rule_and_key(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(LavitError) as caught:
        read_rules(tmp_path)
    assert words in str(caught.value)
    assert read_rules(tmp_path / "none") == ()


def test_arms_that_a_rule_makes_one_run_are_merged_with_its_reason(planned: Planned) -> None:
    """The four binary axes without a void rule in the study file: 16 combinations, 12 trainings."""
    plan = planned("study=lavit_paper", "~study.void")
    keys = {tuple(run.stage_keys.items()) for run in plan.runs}
    assert (len(plan.arms), len(keys)) == (12, 36)
    text = " ".join(plan.render().split())
    assert "merged regime=adapter & target=continuous (4 combinations left out): an adapter has no visual loss" in text
    assert "(rule V1)" in text
    assert find_confounds(plan) == []
    with_rule = planned("study=lavit_paper")
    assert list(with_rule.arms) == list(plan.arms), "as if the study file had said so"
    assert [run.stage_keys for run in with_rule.runs] == [run.stage_keys for run in plan.runs]
    rules = plan.study_document()["void"]
    assert [rule["when"] for rule in rules] == [{"regime": ["adapter"], "target": ["continuous"]}]


def test_illegal_arms_leave_the_design_with_the_reason(planned: Planned) -> None:
    plan = planned("study=lavit_paper", "study.axes.tokens=[dynamic,fixed,pooled]", rules=ILLEGAL)
    assert len(plan.arms) == 18 - 3, "pooled x frozen: two targets under unified, none under adapter"
    assert not any(arm.levels["tokens"] == "pooled" and arm.levels["llm"] == "frozen" for arm in plan.design.arms)
    text = " ".join(plan.render().split())
    assert "illegal tokens=pooled & llm=frozen (3 combinations left out): a frozen LLM" in text
    assert "(rule X1)" in text
    entry = next(void for void in json.loads(plan.to_json())["voids"] if void["kind"] == "illegal")
    assert (entry["removed"], "rule X1" in entry["why"]) == (3, True)
    reasons = [void["why"] for void in plan.study_document()["voids"] if void["arm"]["tokens"] == "pooled"]
    assert sum("rule X1" in why for why in reasons) == 3


@pytest.mark.parametrize("design", ["one_at_a_time", "leave_one_out", "{cumulative:[llm,tokens]}", "{fraction:8}"])
def test_every_design_goes_round_what_is_illegal(design: str, planned: Planned) -> None:
    plan = planned("study=lavit_paper", "study.axes.tokens=[dynamic,pooled]", f"study.design={design}", rules=ILLEGAL)
    assert len(plan.arms) > 1
    assert not any(arm.levels["tokens"] == "pooled" and arm.levels["llm"] == "frozen" for arm in plan.design.arms)


def test_the_nearest_legal_arm_takes_the_place_of_an_illegal_one(planned: Planned) -> None:
    overrides = ("study=quickstart", "study.default={tokens: pooled}")
    plan = planned(*overrides, rules=ILLEGAL)
    moved = [arm for arm in plan.design.arms if arm.note]
    assert [arm.levels["llm"] for arm in moved] == ["frozen"]
    assert moved[0].levels["tokens"] == "dynamic"
    assert "rule X1" in moved[0].note


def test_what_a_study_asks_for_by_name_is_refused_where_it_is_illegal(planned: Planned, conf: Path) -> None:
    with pytest.raises(LavitError) as caught:
        planned("study=quickstart", "tokens=pooled", "llm=frozen", rules=ILLEGAL)
    assert "the arm 'default': tokens.name=pooled, llm.name=frozen is illegal (rule X1)" in str(caught.value)
    assert "set llm=unfrozen" in str(caught.value)
    with pytest.raises(LavitError, match=r"the arm 'mine': .*rule X1"):
        planned("study=quickstart", "study.arms={mine: {tokens: pooled, llm: frozen}}", rules=ILLEGAL)
    (conf / "rules.yaml").write_text(ILLEGAL)
    with pytest.raises(LavitError, match=r"rule X1"):
        single_arm_plan(["tokens=pooled", "llm=frozen"], config_dir=conf)
    assert single_arm_plan(["tokens=pooled", "llm=unfrozen"], config_dir=conf).runs


def test_a_family_may_not_name_what_a_rule_takes_out(planned: Planned) -> None:
    with pytest.raises(LavitError, match=r"family: 'tokens=pooled, llm=frozen' is left out by rule X1"):
        planned("study=quickstart", "study.design=full", "study.void=null",
                "study.family=['tokens=pooled, llm=frozen']", rules=ILLEGAL)  # fmt: skip


def test_a_named_arm_is_never_merged_away(planned: Planned) -> None:
    with pytest.raises(LavitError, match="one and the same run"):
        planned("study=quickstart", "study.void=null", "regime=adapter", "study.axes={llm: [unfrozen, frozen]}",
                "study.arms={mine: {also: ['target=continuous']}}")  # fmt: skip


def test_limited_arms_run_and_plan_and_report_say_so(planned: Planned) -> None:
    plan = planned("study=quickstart", rules=LIMITED)
    assert [(limit.rule, limit.arms) for limit in plan.limits] == [("X2", ("llm=frozen",))]
    assert "limited    rule X2, llm=frozen: only the head learns" in plan.render()
    document = plan.study_document()
    assert document["limited"] == [{"rule": "X2", "why": "only the head learns", "arms": ("llm=frozen",)}]
    assert any("rule X2" in line for line in document["conditional_on"]), "the report's audit lists it"
    every = planned("study=quickstart", "llm=frozen", rules=LIMITED)
    assert "rule X2, every arm" not in every.render(), "target=continuous is not limited"


def test_a_rule_about_later_stages_does_not_concern_a_study_that_stops_before_them(planned: Planned) -> None:
    with pytest.raises(LavitError, match="rule X1"):
        planned("study=quickstart", "llm=frozen", "study.default={tokens: pooled}", rules=ILLEGAL)
    plan = planned("study=quickstart", "llm=frozen", "study.until=tokenizer", "study.default={tokens: pooled}",
                   rules=ILLEGAL)  # fmt: skip
    assert list(plan.arms) == ["default", "tokens=dynamic"], "no LLM is trained, so none is frozen"


def test_a_search_tunes_no_illegal_arm(conf: Path) -> None:
    (conf / "rules.yaml").write_text(ILLEGAL)
    (conf / "study" / "lr.yaml").write_text(
        "question: Which rate?\ndesign: {search: grid}\naxes:\n  tokens: [dynamic, pooled]\n  llm: [unfrozen, frozen]\n"
        "tune:\n  per_arm: 2\n  space:\n    optimizer.lr: [1.0e-3, 2.0e-3]\n  objective: cooldown/val/vqa/accuracy\n"
        "  direction: maximize\nseeds: 1\n"
    )
    plan = make_plan(["study=lr", f"runs={conf.parent}"], config_dir=conf, count=False)
    tuned = {(run.levels["tokens"], run.levels["llm"]) for run in plan.runs}
    assert tuned == {("dynamic", "unfrozen"), ("dynamic", "frozen"), ("pooled", "unfrozen")}
