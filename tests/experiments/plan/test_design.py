"""Designs: every arm once, the default first, nothing void, every level balanced where nothing is."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.axes import Axis
from experiments.design import crossed, expand, matched_pairs
from experiments.errors import LavitError
from experiments.slugs import slugify
from experiments.study import NamedArm, Study
from experiments.voids import Void, find_void


def make_study(sizes: list[int], design: str = "full", voids: tuple[Void, ...] = (), **more: object) -> Study:
    axes = {}
    for a, size in enumerate(sizes):
        name = f"axis{a}"
        axes[name] = Axis(name, {f"l{i}": (f"{name}=l{i}",) for i in range(size)})
    default = {name: axis.default for name, axis in axes.items()}
    return Study("s", "q", design, axes, voids, (0,), "a/b", more.pop("default", default), **more)  # type: ignore[arg-type]


@st.composite
def studies(draw: st.DrawFn, design: str) -> Study:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    plain = make_study(sizes, design)
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(st.sampled_from(sorted(plain.axes)), min_size=1, max_size=2, unique=True))
        when = {a: (draw(st.sampled_from(sorted(plain.axes[a].levels))),) for a in chosen}
        rules.append(Void(when, "because"))
    default = {a: draw(st.sampled_from(sorted(axis.levels))) for a, axis in plain.axes.items()}
    study = make_study(sizes, design, tuple(rules), default=default)
    assume(find_void(study.voids, study.default) is None)
    return study


@settings(max_examples=80, deadline=None, derandomize=True)
@given(studies("full"))
def test_full_is_every_valid_combination_once(study: Study) -> None:
    design = expand(study)
    found = [tuple(arm.levels.items()) for arm in design.arms]
    combinations = list(itertools.product(*(axis.levels for axis in study.axes.values())))
    assert len(set(found)) == len(found)
    assert len(found) + sum(len(removed.arms) for removed in design.removed) == len(combinations)
    assert all(find_void(study.voids, arm.levels) is None for arm in design.arms)
    assert all(removed.void.matches(levels) for removed in design.removed for levels in removed.arms)
    if not design.removed:
        for axis in study.axes.values():
            counts = Counter(arm.levels[axis.name] for arm in design.arms)
            assert set(counts) == set(axis.levels)
            assert len(set(counts.values())) == 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(studies("one_at_a_time"))
def test_one_at_a_time_has_an_arm_for_every_other_level(study: Study) -> None:
    design = expand(study)
    found = [tuple(arm.levels.items()) for arm in design.arms]
    assert len(set(found)) == len(found)
    for arm in design.arms[1:]:
        assert find_void(study.voids, arm.levels) is None
        differing = [a for a in study.axes if arm.levels[a] != study.default[a]]
        assert (len(differing) == 1) != bool(arm.note)
    wanted = sum(len(axis.levels) - 1 for axis in study.axes.values())
    if not study.voids:
        assert len(design.arms) == 1 + wanted
    assert len(design.arms) <= 1 + wanted


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.one_of(studies("full"), studies("one_at_a_time")))
def test_names_and_order(study: Study) -> None:
    design = expand(study)
    assert design.arms[0].name == "default"
    assert design.arms[0].levels == study.default
    names, slugs = [a.name for a in design.arms], [a.slug.lower() for a in design.arms]
    assert len(set(names)) == len(names)
    assert len(set(slugs)) == len(slugs)
    assert expand(study) == design
    for arm in design.arms[1:]:
        said = dict(part.split("=") for part in arm.name.split(", "))
        assert said == {a: level for a, level in arm.levels.items() if level != study.default[a]}


def test_a_void_neighbour_moves_to_the_nearest_valid_arm_and_says_so() -> None:
    void = Void({"axis0": ("l1",), "axis1": ("l0",)}, "they clash")
    design = expand(make_study([2, 2, 2], "one_at_a_time", (void,)))
    assert [arm.name for arm in design.arms] == ["default", "axis0=l1, axis1=l1", "axis1=l1", "axis2=l1"]
    assert "they clash" in design.arms[1].note
    assert "axis1=l1" in design.arms[1].note
    assert design.removed[0].arms == ({"axis0": "l1", "axis1": "l0", "axis2": "l0"},)


def test_a_void_default_is_refused() -> None:
    with pytest.raises(LavitError, match="default arm is void"):
        expand(make_study([2, 2], voids=(Void({"axis0": ("l0",)}, "no"),)))


def test_named_arms_come_after_the_default_and_keep_their_names() -> None:
    arms = {"big": NamedArm({"axis0": "l1"}, ("train.steps=9",)), "other": NamedArm({"axis1": "l1"})}
    design = expand(make_study([2, 2], "arms", arms=arms))
    assert [arm.name for arm in design.arms] == ["default", "big", "other"]
    assert design.arms[1].overrides == ("axis0=l1", "axis1=l0", "train.steps=9")


def test_a_named_default_comes_first() -> None:
    arms = {"a": NamedArm({"axis0": "l1"}), "b": NamedArm({"axis0": "l0"})}
    study = make_study([2], "arms", arms=arms, default={"axis0": "l0"}, default_arm="b")
    assert [arm.name for arm in expand(study).arms] == ["b", "a"]


def test_two_named_arms_that_are_the_same_are_refused() -> None:
    arms = {"a": NamedArm({"axis0": "l1"}), "b": NamedArm({"axis0": "l1"})}
    with pytest.raises(LavitError, match="same as the arm 'a'"):
        expand(make_study([2], "arms", arms=arms))


def test_a_family_that_names_no_arm_is_refused() -> None:
    with pytest.raises(LavitError, match="did you mean 'axis0=l1'"):
        expand(make_study([2, 2], family=("axis0=l2",)))


def test_a_design_too_large_to_mean_anything_is_refused() -> None:
    with pytest.raises(LavitError, match="one_at_a_time"):
        expand(make_study([4] * 8))


def test_matched_pairs_and_crossing() -> None:
    void = Void({"axis0": ("l1",), "axis1": ("l1",)}, "no")
    arms = expand(make_study([2, 2, 2], voids=(void,))).arms
    assert len(matched_pairs(arms, "axis0", "l0", "l1")) == 2
    assert len(matched_pairs(arms, "axis2", "l0", "l1")) == 3
    assert not crossed(arms, "axis0", "axis1")
    assert crossed(arms, "axis0", "axis2")


def test_slugs_are_file_names() -> None:
    assert slugify("regime=adapter, llm=frozen") == "regime-adapter_llm-frozen"
    assert slugify("lr=[1,2]/x") == "lr-1-2-x"
    assert len(slugify("x" * 300)) <= 80
    assert slugify("…") == "arm"
