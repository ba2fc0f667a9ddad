"""Keys: typed, independent of order, blind to what is incidental, equal for void twins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.key import canonical_text, digest, nest, select, stage_key, without
from experiments.rules import Rule, apply_rules

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TREES)
def test_the_order_of_mappings_does_not_matter(tree: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(item) for key, item in reversed(list(value.items()))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert digest(turned(tree)) == digest(tree)
    assert len(digest(tree)) == 16


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TREES, TREES)
def test_different_values_have_different_texts(first: Any, second: Any) -> None:
    def typed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: typed(item) for key, item in sorted(value.items())}
        return [typed(item) for item in value] if isinstance(value, list) else (type(value).__name__, repr(value))

    assert (canonical_text(first) == canonical_text(second)) == (typed(first) == typed(second))


def test_types_count() -> None:
    values = [
        1,
        1.0,
        "1",
        True,
        None,
        "None",
        "true",
        [1],
        {"a": 1},
        {"a": 1.0},
        {1: 1},
        {"1": 1},
        float("nan"),
        "float:nan",
    ]
    assert len({digest(value) for value in values}) == len(values)


def test_every_part_of_a_key_counts() -> None:
    usual: dict[str, Any] = {"stage": "a", "config": {"x": "0"}, "seed": 0, "code": "c", "needs": {"b": "k"}}
    other = [{"stage": "b"}, {"config": {"x": "1"}}, {"seed": None}, {"seed": 1}, {"code": "d"}, {"needs": {"b": "l"}}]
    keys = {stage_key(**usual), *(stage_key(**{**usual, **change}) for change in other)}
    assert len(keys) == 1 + len(other)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_without_takes_out_nested_keys_and_leaves_the_original() -> None:
    config = {"train": {"steps": 1, "workers": 2}, "llm": 3}
    assert without(config, ["train.workers", "nothing", "llm.x"]) == {"train": {"steps": 1}, "llm": 3}
    assert config["train"] == {"steps": 1, "workers": 2}


def test_select_and_nest_are_inverse() -> None:
    config = {"data": {"train": {"size": 3}, "name": "x"}, "llm": 1}
    assert nest({key: select(config, key) for key in ("data.train", "llm")}) == {
        "data": {"train": {"size": 3}},
        "llm": 1,
    }
    with pytest.raises(KeyError):
        select(config, "data.none")


GROUPS = ("regime", "target", "tokens", "llm")
CONFIGS = st.fixed_dictionaries({name: st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3) for name in GROUPS})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CONFIGS, st.data())
def test_a_void_configuration_and_its_twin_hash_alike(config: dict[str, Any], data: Any) -> None:
    """Whatever a rule drops may take any value; what it does not drop, and all of it where it does not hold, counts."""
    when, drop, whole = *data.draw(st.permutations(GROUPS))[:2], data.draw(st.booleans())
    config = {**config, when: {**config[when], "name": "void"}, drop: {**config[drop], "x": 0}}
    gone = drop if whole else f"{drop}.x"
    rules = [Rule("r", {f"{when}.name": "void"}, "void", "means nothing", drop=(gone,))]
    value = data.draw(SCALARS.filter(lambda value: canonical_text(value) != canonical_text(0)))
    twin = {**config, drop: {**config[drop], "x": value}}

    def keyed(config: dict[str, Any]) -> str:
        return digest(apply_rules(config, rules).config)

    assert keyed(config) == keyed(twin)
    other = next(name for name in GROUPS if name not in (when, drop))
    assert keyed(config) != keyed({**config, other: {**config[other], "new": 1}})
    valid = {when: {**config[when], "name": "valid"}}
    assert keyed(config | valid) != keyed(twin | valid)
    if not whole:
        assert keyed(config) != keyed({**config, drop: {**config[drop], "y": 1}})
