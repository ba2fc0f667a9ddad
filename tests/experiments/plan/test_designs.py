"""Designs with options: leave one out, cumulative, textbook and D-optimal fractions, and what each can estimate."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.axes import Axis
from experiments.design import Design, combinations, expand
from experiments.designs import model
from experiments.designs.fraction import choose
from experiments.errors import LavitError
from experiments.nesting import nested_voids
from experiments.power import _noncentrality, main_effects, smallest_effect
from experiments.study import Study
from experiments.voids import Void, find_void

CLASH = Void({"axis0": ("l1",), "axis1": ("l0",)}, "they clash")  # LaVIT's: one of the four combinations of two axes


def make_study(sizes: list[int], design: str = "full", voids: tuple[Void, ...] = (), **more: object) -> Study:
    names = [f"axis{a}" for a in range(len(sizes))]
    axes = {a: Axis(a, {f"l{i}": (f"{a}=l{i}",) for i in range(n)}) for a, n in zip(names, sizes, strict=True)}
    default = {name: axis.default for name, axis in axes.items()}
    return Study("s", "q", design, axes, voids, (0,), "a/b", more.pop("default", default), **more)  # type: ignore[arg-type]


def fraction(sizes: list[int], arms: int, *interactions: str, voids: tuple[Void, ...] = (), **more: object) -> Study:
    plain = make_study(sizes)
    terms = [axis for axis in plain.axes if len(plain.axes[axis].levels) > 1]
    return make_study(sizes, "fraction", voids, design_options={"arms": arms, "terms": [*terms, *interactions]}, **more)


def axes_of(study: Study) -> dict[str, list[str]]:
    return {axis.name: list(axis.levels) for axis in study.axes.values()}


def levels_of(design: Design) -> list[dict[str, str]]:
    return [arm.levels for arm in design.arms]


@st.composite
def questions(draw: st.DrawFn, name: str) -> Study:
    sizes = draw(st.lists(st.integers(2, 3), min_size=2, max_size=4))
    plain = make_study(sizes)
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(st.sampled_from(sorted(plain.axes)), min_size=2, max_size=2, unique=True))
        rules.append(Void({a: (draw(st.sampled_from(sorted(plain.axes[a].levels))),) for a in chosen}, "because"))
    options = {"arms": draw(st.integers(2, 24)), "terms": list(plain.axes)} if name == "fraction" else {}
    study = make_study(sizes, name, tuple(rules), design_options=options)
    assume(find_void(study.voids, study.default) is None)
    return study


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(questions("leave_one_out"), questions("cumulative"), questions("fraction")))
def test_every_design_has_the_default_first_and_no_arm_twice_or_void(study: Study) -> None:
    try:
        design = expand(study)
    except LavitError:  # more arms than there are, or fewer than the model has coefficients
        valid = [levels for levels in combinations(study) if find_void(study.voids, levels) is None]
        needed = model.rank(model.matrix(axes_of(study), valid, study.design_options["terms"])[0])
        assert not needed <= study.design_options["arms"] <= len(valid)
        return
    found = [tuple(arm.levels.items()) for arm in design.arms]
    assert len(set(found)) == len(found)
    assert len({arm.name for arm in design.arms}) == len(found)
    assert design.arms[0].levels == study.default
    assert all(find_void(study.voids, arm.levels) is None for arm in design.arms)
    assert expand(study) == design
    if study.design == "fraction":
        assert len(found) == study.design_options["arms"]
        valid = [levels for levels in combinations(study) if find_void(study.voids, levels) is None]
        whole, own = (model.matrix(axes_of(study), rows, design.model)[0] for rows in (valid, levels_of(design)))
        assert model.rank(own) == model.rank(whole)
    names = {arm.name for arm in design.arms}
    assert all({after, before} <= names for after, before in design.steps)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_a_fraction_is_as_good_as_the_best_of_all_subsets(data: st.DataObject) -> None:
    sizes = data.draw(st.sampled_from([[2, 2, 2], [2, 3], [3, 3], [2, 2, 2, 2], [2, 2, 3]]))
    study = make_study(sizes)
    candidates = list(combinations(study))
    gone = data.draw(st.sets(st.integers(1, len(candidates) - 1), max_size=4))
    candidates = [levels for i, levels in enumerate(candidates) if i not in gone]
    axes, terms = axes_of(study), list(study.axes)
    whole = model.matrix(axes, candidates, terms)[0]
    needed = model.rank(whole)
    assume(needed == whole.shape[1])
    wanted = data.draw(st.integers(needed, min(len(candidates), needed + 2)))
    assume(math.comb(len(candidates) - 1, wanted - 1) < 7000)
    chosen = choose(axes, candidates, terms, wanted)
    best = max(
        np.linalg.det(whole[[0, *rest]].T @ whole[[0, *rest]])
        for rest in itertools.combinations(range(1, len(candidates)), wanted - 1)
    )
    assert 0 in chosen
    assert len(set(chosen)) == wanted
    own = np.linalg.det(whole[chosen].T @ whole[chosen])
    assert own > 0.95 * best or best < 1e-6


def detected(study: Study, seeds: int = 3) -> dict[str, float]:
    """Axis -> smallest main effect that is detected, uncorrected, in seed SDs."""
    design = expand(study)
    return {e.axis: smallest_effect(e.squared, len(design.arms), seeds) for e in main_effects(study, design)}  # type: ignore[misc]


def ranks(study: Study) -> tuple[int, int]:
    arms, axes = levels_of(expand(study)), axes_of(study)
    main = list(study.axes)
    return tuple(model.rank(model.matrix(axes, arms, terms)[0]) for terms in (main, [*main, *model.two_way(axes)]))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("study", "arms", "rank", "smallest", "published"),
    [
        (make_study([2] * 4), 16, (5, 11), {0.84}, {0.83}),
        (make_study([2] * 4, voids=(CLASH,)), 12, (5, 10), {0.98, 1.20}, {0.97, 1.18}),
        (fraction([2] * 4, 8), 8, (5, 8), {1.23}, {1.21}),
        (fraction([2] * 4, 8, voids=(CLASH,)), 8, (5, 8), {1.23, 1.51}, {1.21, 1.49}),
        (make_study([2] * 4, "one_at_a_time"), 5, (5, 5), {2.61}, {2.61}),
    ],
    ids=["full", "full without voids", "textbook half", "D-optimal eight", "one at a time"],
)
def test_known_answers_of_the_lavit_grid(
    study: Study, arms: int, rank: tuple[int, int], smallest: set[float], published: set[float]
) -> None:
    design = expand(study)
    assert len(design.arms) == arms
    assert ranks(study) == rank
    assert {round(value, 2) for value in detected(study).values()} == smallest
    # The published figures take the residual degrees of freedom of the main effects model, the estimator its own,
    # (arms - 1)(seeds - 1), which are fewer.
    shifts = {_noncentrality(3 * arms - 5 - 2, 0.05, 0.8) * (e.squared / 3) ** 0.5 for e in main_effects(study, design)}
    assert {round(shift, 2) for shift in shifts} == published


def test_a_textbook_fraction_filtered_for_voids_would_have_been_worse() -> None:
    half = levels_of(expand(fraction([2] * 4, 8)))
    kept = [levels for levels in half if find_void((CLASH,), levels) is None]
    axes = axes_of(make_study([2] * 4))
    assert len(kept) == 6
    assert model.rank(model.matrix(axes, kept, [*axes, *model.two_way(axes)])[0]) == 6
    weights = model.main_weights(axes, kept, list(axes), "axis2", "l1", "l0")
    assert weights is not None
    assert smallest_effect(sum(w * w for w in weights), 6, 3) > 1.4  # type: ignore[operator]


def test_a_textbook_half_has_its_alias_table() -> None:
    design = expand(fraction([2] * 4, 8))
    assert design.method == "textbook 2^(4-1), resolution IV"
    assert "axis0*axis1 = axis2*axis3" in design.aliases
    assert "axis0 = axis1*axis2*axis3" in design.aliases
    assert "axis0*axis1 = axis2*axis3" in model.alias_chains(axes_of(make_study([2] * 4)), levels_of(design))
    for axis in ("axis0", "axis1", "axis2", "axis3"):
        assert sum(arm.levels[axis] == "l1" for arm in design.arms) == 4


def test_an_interaction_that_the_textbook_loses_is_estimated_by_another_choice() -> None:
    design = expand(fraction([2] * 4, 8, "axis0*axis1", "axis2*axis3"))  # aliased with each other in the textbook's
    assert design.method.startswith("D-optimal")
    assert not model.not_estimable(axes_of(make_study([2] * 4)), levels_of(design), design.model)


def test_a_void_interaction_stays_lost_and_nothing_else_does() -> None:
    study = fraction([2] * 4, 8, "axis0*axis1", voids=(CLASH,))
    lost = model.not_estimable(axes_of(study), levels_of(expand(study)), expand(study).model)
    assert "axis0*axis1" in lost
    assert not {"axis2", "axis3"} & set(lost)


def test_too_few_and_too_many_arms_are_refused_with_the_number() -> None:
    with pytest.raises(LavitError, match="has 5 coefficients"):
        expand(fraction([2] * 4, 4))
    with pytest.raises(LavitError, match="there are 12 valid ones"):
        expand(fraction([2] * 4, 13, voids=(CLASH,)))


def test_leave_one_out_has_one_arm_an_axis() -> None:
    study = make_study([3, 2, 4], "leave_one_out")
    assert [arm.name for arm in expand(study).arms] == ["default", "axis0=l2", "axis1=l1", "axis2=l3"]
    study = make_study([3, 2, 4], "leave_one_out", design_options={"off": {"axis2": "l1"}})
    assert [arm.name for arm in expand(study).arms] == ["default", "axis0=l2", "axis1=l1", "axis2=l1"]
    with pytest.raises(LavitError, match="also its default"):
        expand(make_study([2], "leave_one_out", default={"axis0": "l1"}))


def test_cumulative_is_a_path_to_the_default() -> None:
    design = expand(make_study([2, 2, 2], "cumulative", design_options={"order": ["axis2", "axis0", "axis1"]}))
    assert [arm.name for arm in design.arms] == [
        "default", "axis0=l1, axis1=l1, axis2=l1", "axis0=l1, axis1=l1", "axis1=l1",
    ]  # fmt: skip
    assert design.steps == (
        ("axis0=l1, axis1=l1", "axis0=l1, axis1=l1, axis2=l1"), ("axis1=l1", "axis0=l1, axis1=l1"),
        ("default", "axis1=l1"),
    )  # fmt: skip


def test_a_nested_axis_waits_until_it_takes_levels() -> None:
    study = make_study([2, 2, 2], "cumulative")
    inner = replace(study.axes["axis1"], only_if={"axis0": ("l0",)})
    axes = {**study.axes, "axis1": inner}
    study = replace(study, axes=axes, voids=nested_voids(axes, study.default))
    found = [arm.levels for arm in expand(study).arms]
    assert found[1:] == [
        {"axis0": "l1", "axis2": "l1"}, {"axis0": "l0", "axis1": "l1", "axis2": "l1"},
        {"axis0": "l0", "axis1": "l0", "axis2": "l1"},
    ]  # fmt: skip


def test_a_void_step_moves_and_says_so() -> None:
    both = Void({"axis0": ("l1",), "axis1": ("l1",)}, "they clash")
    design = expand(make_study([2, 2, 2], "cumulative", voids=(both,)))
    start = design.arms[1]
    assert start.levels == {"axis0": "l0", "axis1": "l1", "axis2": "l1"}
    assert "the start is void (they clash): nearest valid arm, axis0=l0" in start.note
    assert "+ axis0 adds nothing" in start.note
    assert [arm.name for arm in design.arms] == ["default", "axis1=l1, axis2=l1", "axis2=l1"]


def test_the_same_question_has_the_same_arms_whatever_the_seeds() -> None:
    study = fraction([2, 3, 2], 7, voids=(CLASH,))
    assert levels_of(expand(study)) == levels_of(expand(fraction([2, 3, 2], 7, voids=(CLASH,), sd_seed=1.0)))
