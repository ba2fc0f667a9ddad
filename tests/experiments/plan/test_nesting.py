"""Nested and paired axes: what does not exist is never counted, named, trained or compared."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.axes import Axis
from experiments.confounds import find_confounds
from experiments.design import Design, crossed, expand, full_size, matched_pairs
from experiments.errors import Complaint, LavitError
from experiments.nesting import active_levels, cells, count_cells, nested_voids, read_conditions
from experiments.study import Study
from experiments.voids import Void, find_void, where_levels_exist
from tests.experiments.plan.test_study import Desk, changed, desk

__all__ = ["desk"]  # a fixture

AXES: dict[str, Any] = {
    "regime": ["unified", "adapter"],
    "target": {"levels": ["discrete", "continuous"], "only_if": {"regime": "unified"}},
    "lr": {"key": "optimizer.lr", "levels": [1e-3, 5e-4, 1e-4], "only_if": {"target": "continuous"}},
    "llm": ["unfrozen", "frozen"],
}


@st.composite
def nested_studies(draw: st.DrawFn, design: str = "full") -> Study:
    """Up to five axes in any order, some on condition of others, with up to one void rule and any default."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    names = [f"axis{i}" for i in range(len(sizes))]
    axes = {n: Axis(n, {f"l{i}": (f"{n}=l{i}",) for i in range(s)}) for n, s in zip(names, sizes, strict=True)}
    nodes = {}
    for i, name in enumerate(names[1:], 1):
        parents = draw(st.lists(st.sampled_from(names[:i]), max_size=2, unique=True))
        if parents:
            levels = {
                p: draw(st.lists(st.sampled_from(sorted(axes[p].levels)), min_size=1, unique=True)) for p in parents
            }
            nodes[name] = levels
    try:
        conditions = read_conditions(nodes, axes, Complaint("study.yaml"))
    except LavitError as error:  # two parents that never exist together
        assume("never holds" not in error.message)
        raise
    shuffled = draw(st.permutations(names))
    axes = {n: Axis(n, axes[n].levels, only_if=conditions.get(n, {})) for n in shuffled}
    reference = {n: draw(st.sampled_from(sorted(axis.levels))) for n, axis in axes.items()}
    rules: tuple[Void, ...] = ()
    if draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        when = {n: (draw(st.sampled_from(sorted(axes[n].levels))),) for n in chosen}
        rules = (Void(when, "because", where_levels_exist(when, axes)),)
    study = Study("s", "q", design, axes, (*rules, *nested_voids(axes, reference)), (0,), "a/b", reference)
    assume(find_void(study.voids, study.default) is None)
    return study


def by_brute_force(study: Study) -> list[dict[str, str]]:
    """Every distinct set of levels among all combinations, whatever exists or not."""
    found = []
    for combination in itertools.product(*(axis.levels for axis in study.axes.values())):
        levels = active_levels(study.axes, dict(zip(study.axes, combination, strict=True)))
        if levels not in found:
            found.append(levels)
    return found


@settings(max_examples=80, deadline=None, derandomize=True)
@given(nested_studies())
def test_full_has_every_arm_that_exists_once(study: Study) -> None:
    design = expand(study)
    everything = by_brute_force(study)
    made = [arm.levels for arm in design.arms] + [
        active_levels(study.axes, levels) for removed in design.removed for levels in removed.arms
    ]
    assert len(made) == len(everything) == full_size(study)
    assert all(levels in everything for levels in made)
    assert len({arm.overrides for arm in design.arms}) == len({arm.name for arm in design.arms}) == len(design.arms)
    assert not any(removed.void.nested for removed in design.removed)
    check_names_and_order(study, design)
    if not design.removed:
        for axis in study.axes.values():  # balanced wherever it exists, within each combination of what it hangs on
            seen: dict[tuple[Any, ...], Counter[str]] = {}
            for arm in design.arms:
                if axis.name in arm.levels and not any(axis.name in other.only_if for other in study.axes.values()):
                    around = tuple(arm.levels.get(parent) for parent in axis.only_if)
                    seen.setdefault(around, Counter())[arm.levels[axis.name]] += 1
            for counts in seen.values():
                assert set(counts) == set(axis.levels)
                assert len(set(counts.values())) == 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(nested_studies("one_at_a_time"))
def test_one_at_a_time_moves_to_where_an_axis_exists(study: Study) -> None:
    design = expand(study)
    check_names_and_order(study, design)
    assert all(find_void(study.voids, arm.cell) is None for arm in design.arms)
    valid = [levels for levels in by_brute_force(study) if find_void(study.voids, levels) is None]
    for axis in study.axes.values():
        for level in set(axis.levels) - {study.default[axis.name]}:
            reachable = any(levels.get(axis.name) == level for levels in valid)
            assert reachable == any(arm.levels.get(axis.name) == level for arm in design.arms)


def check_names_and_order(study: Study, design: Design) -> None:
    assert design.arms[0].levels == active_levels(study.axes, study.default)
    places = {name: list(axis.levels) for name, axis in study.axes.items()}
    for arm in design.arms:
        assert list(arm.levels) == [axis for axis in study.axes if axis in arm.levels]
        assert list(arm.cell) == list(study.axes)
        for axis in set(study.axes) - set(arm.levels):
            assert f"{axis}=" not in arm.name
            assert arm.cell[axis] == study.default[axis]
    if study.design == "full":
        ranks = [
            [0 if level == study.default[axis] else 1 + places[axis].index(level) for axis, level in arm.cell.items()]
            for arm in design.arms
        ]
        assert ranks == sorted(ranks)


def test_pairs_differ_in_the_one_axis_and_only_where_it_exists(desk: Desk) -> None:
    plan = desk.plan(changed(axes=AXES, void=[]))
    arms = plan.design.arms
    names = lambda pairs: [(a.name, b.name) for a, b in pairs]  # noqa: E731
    assert names(matched_pairs(arms, "target", "discrete", "continuous")) == [
        ("default", "target=continuous"), ("llm=frozen", "target=continuous, llm=frozen"),
    ]  # fmt: skip
    assert names(matched_pairs(arms, "regime", "unified", "adapter")) == [
        ("default", "regime=adapter"), ("llm=frozen", "regime=adapter, llm=frozen"),
    ]  # fmt: skip
    assert crossed(arms, "lr", "llm")
    assert not crossed(arms, "regime", "target")


def test_a_nested_study_from_file_to_plan(desk: Desk) -> None:
    plan = desk.plan(changed(axes=AXES, void=[]))
    assert [arm.name for arm in plan.design.arms] == [
        "default", "llm=frozen", "target=continuous", "target=continuous, llm=frozen",
        "target=continuous, lr=0.0005", "target=continuous, lr=0.0005, llm=frozen",
        "target=continuous, lr=0.0001", "target=continuous, lr=0.0001, llm=frozen",
        "regime=adapter", "regime=adapter, llm=frozen",
    ]  # fmt: skip
    adapter = next(arm for arm in plan.design.arms if arm.name == "regime=adapter")
    assert adapter.overrides == ("regime=adapter", "llm=unfrozen")  # no override of what takes no level
    document = plan.study_document()
    assert document["arms"]["regime=adapter"] == {"regime": "adapter", "llm": "unfrozen"}
    assert document["only_if"]["lr"] == {"target": ["continuous"], "regime": ["unified"]}
    assert document["void"] == []
    assert "lr has levels only where target=continuous & regime=unified" in plan.render()
    assert find_confounds(plan) == []


def test_a_void_rule_says_nothing_where_its_axis_takes_no_level(desk: Desk) -> None:
    void = [{"when": {"target": "discrete", "llm": "frozen"}, "why": "not wanted"}]
    names = [arm.name for arm in desk.plan(changed(axes=AXES, void=void)).design.arms]
    assert "llm=frozen" not in names
    assert "regime=adapter, llm=frozen" in names


def test_axes_that_exclude_each_other_may_set_one_key(desk: Desk) -> None:
    axes: dict[str, Any] = {
        "llm": ["unfrozen", "frozen"],
        "slow": {"key": "optimizer.lr", "levels": [1e-4, 3e-4], "only_if": {"llm": "unfrozen"}},
        "fast": {"key": "optimizer.lr", "levels": [1e-3, 3e-3, 1e-2], "only_if": {"llm": "frozen"}},
    }
    plan = desk.plan(changed(axes=axes, void=[]))
    assert [run.config["optimizer"]["lr"] for run in plan.runs if run.seed == 0] == [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    axes["fast"]["only_if"] = {"llm": ["frozen", "unfrozen"]}
    with pytest.raises(LavitError, match=r"sets 'optimizer.lr', as the axis 'slow' does"):
        desk.read(changed(axes=axes, void=[]))


def test_narrowing_to_where_an_axis_does_not_exist(desk: Desk) -> None:
    study, _ = desk.read(changed(axes=AXES, void=[]), "regime=adapter")
    assert [arm.name for arm in expand(study).arms] == ["default", "llm=frozen"]
    with pytest.raises(LavitError, match="has levels only where regime=unified, and regime is adapter"):
        desk.read(changed(axes=AXES, void=[]), "regime=adapter", "target=continuous")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"target": "continuos"}, ["axes.llm.only_if.target", "did you mean 'continuous'"]),
        ({"targte": "continuous"}, ["axes.llm.only_if", "did you mean 'target'"]),
        ({"llm": "frozen"}, ["axes.llm.only_if", "no other axis 'llm'"]),
        ("target", ["axes.llm.only_if", "'target' is no condition"]),
        ({"target": []}, ["axes.llm.only_if.target", "names no level"]),
        ({"target": "discrete", "regime": "adapter"}, ["axes.llm.only_if", "never holds", "regime is unified"]),
    ],
)
def test_a_bad_condition_is_refused(condition: Any, words: list[str], desk: Desk) -> None:
    axes = {**AXES, "llm": {"levels": ["unfrozen", "frozen"], "only_if": condition}}
    with pytest.raises(LavitError) as caught:
        desk.read(changed(axes=axes, void=[]))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_circle_of_conditions_is_refused(desk: Desk) -> None:
    axes = {**AXES, "regime": {"levels": ["unified", "adapter"], "only_if": {"lr": 0.001}}}
    with pytest.raises(LavitError, match="goes in a circle: regime -> lr -> target -> regime"):
        desk.read(changed(axes=axes, void=[]))


def test_a_default_where_its_axis_takes_no_level_is_refused(desk: Desk) -> None:
    with pytest.raises(LavitError, match=r"default.target: the axis has levels only where regime=unified"):
        desk.read(changed(axes=AXES, void=[], default={"regime": "adapter", "target": "continuous"}))
    names = [a.name for a in desk.plan(changed(axes=AXES, void=[], default={"regime": "adapter"})).design.arms]
    assert names[:3] == ["default", "llm=frozen", "regime=unified"]


def test_an_immense_nested_design_is_counted_without_being_made() -> None:
    axes = {"root": Axis("root", {"a": (), "b": ()})}
    axes |= {f"n{i}": Axis(f"n{i}", {str(k): () for k in range(4)}, only_if={"root": ("a",)}) for i in range(40)}
    assert count_cells(axes, {name: axis.default for name, axis in axes.items()}, 1000) > 1000
    few = {name: axes[name] for name in ("root", "n0", "n1")}
    assert count_cells(few, {name: axis.default for name, axis in few.items()}, 1000) == 17
    assert len(list(cells(few, {name: axis.default for name, axis in few.items()}))) == 17


def test_paired_axes_vary_together(desk: Desk) -> None:
    axes = {
        "budget": {"paired": ["train.steps", "optimizer.lr"], "levels": [[200, 1e-3], [400, 5e-4], [800, 2e-4]]},
        "pair": {
            "paired": ["tokens", "llm"],
            "levels": {"large": ["dynamic", "unfrozen"], "small": ["pooled", "frozen"]},
        },
    }
    plan = desk.plan(changed(axes=axes, void=[]))
    assert list(plan.study.axes["budget"].levels) == ["200/0.001", "400/0.0005", "800/0.0002"]
    assert len(plan.design.arms) == 6
    last = plan.runs[-1].config
    assert (last["train"]["steps"], last["optimizer"]["lr"], last["llm"]["name"]) == (800, 2e-4, "frozen")
    assert find_confounds(plan) == []
    study, _ = desk.read(changed(axes=axes, void=[]), "budget=400/0.0005")
    assert list(study.axes["budget"].levels) == ["400/0.0005"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"levels": [[200]]}, ["axes.b.levels", "[200] has 1 values", "2 keys (train.steps, optimizer.lr)"]),
        ({"levels": [200, 400]}, ["axes.b.levels", "no list of values"]),
        ({"levels": [[1, 0.1], [1, 0.1]]}, ["axes.b.levels", "'1/0.1' is there twice"]),
        ({"levels": {}}, ["axes.b.levels", "has no levels"]),
        ({"paired": ["train.steps"]}, ["axes.b.paired", "not two keys or more"]),
        ({"paired": "train.steps"}, ["axes.b.paired", "not two keys or more"]),
        ({"paired": ["train.steps", "train.steps"]}, ["axes.b.paired", "names a key twice"]),
        ({"paired": ["train.steps", "seed"]}, ["axes.b.paired", "'seed' cannot be an axis"]),
        ({"paired": ["train.stpes", "optimizer.lr"]}, ["axes.b.1/0.1", "did you mean train.steps"]),
        ({"paired": ["llm", "tokens"], "levels": [["frozen", "fixd"]]}, ["axes.b.levels", "did you mean 'fixed'"]),
        ({"pairs": 1}, ["axes.b.pairs: unknown key", "did you mean 'paired'"]),
    ],
)
def test_a_bad_pair_is_refused(change: dict[str, Any], words: list[str], desk: Desk) -> None:
    axis = {"paired": ["train.steps", "optimizer.lr"], "levels": [[1, 0.1], [2, 0.2]], **change}
    with pytest.raises(LavitError) as caught:
        desk.read(changed(axes={"b": axis}, void=[]))
    assert all(word in str(caught.value) for word in words), caught.value


def test_named_arms_join_any_design(desk: Desk) -> None:
    arms: dict[str, Any] = {"long": {"also": "train.steps=7"}, "both": {"regime": "adapter", "llm": "frozen"}}
    plain = desk.plan(changed(design="one_at_a_time"))
    more = desk.plan(changed(design="one_at_a_time", arms=arms))
    assert [arm.name for arm in more.design.arms] == [*(arm.name for arm in plain.design.arms), "long", "both"]
    assert len(matched_pairs(more.design.arms, "llm", "unfrozen", "frozen")) == 2  # `both` pairs, `long` does not
    with pytest.raises(LavitError, match=r"arms.both: is the same as the arm 'regime=adapter, llm=frozen'"):
        desk.plan(changed(arms=arms))
    with pytest.raises(LavitError, match=r"arms.default.also: the default arm of design: full"):
        desk.plan(changed(arms={"default": {"also": "train.steps=7"}}))


def test_four_axes_in_fifteen_lines(desk: Desk) -> None:
    page = (Path(__file__).parents[3] / "docs" / "study-files.md").read_text()
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "four_axes" in block)
    assert len(text.splitlines()) <= 15
    plan = desk.plan(text.replace("name: four_axes\n", ""))
    assert len(plan.study.axes) == 4
    assert f"Its plan has {len(plan.design.arms)} arms" in page
