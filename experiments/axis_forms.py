"""How a study file writes its axes: four forms, each with a condition or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.axes import BOOLEANS, Axis, level_name, read_overrides, write_override
from experiments.axis_rules import narrow, refuse_overlap, try_levels
from experiments.compose import Composer, parse_overrides
from experiments.errors import Complaint, LavitError, did_you_mean
from experiments.nesting import read_conditions

_LIST = "write [LEVEL, LEVEL]; the first is the default"
_PAIR = "write paired: [KEY, KEY] and one value for each in every level: levels: [[200, 1e-3], [400, 5e-4]]"


def read_axes(
    node: Any, composer: Composer, overrides: Sequence[str], complain: Complaint, required: bool
) -> tuple[dict[str, Axis], list[str]]:
    """Read the axes of a study, narrowed by the overrides that touch what they vary.

    Returns:
        Axes by name, and the overrides that narrowed none of them.
    """
    if node is None and not required:
        node = {}
    if not isinstance(node, dict) or (required and not node):
        raise complain(
            "axes",
            f"{node!r} are no axes",
            "write axes: {NAME: [LEVEL, LEVEL]}; the first level is the default",
        )
    axes, conditions = {}, {}
    for name, body in node.items():
        if not isinstance(name, str) or not name.isprintable() or not name or any(sign in name for sign in ",= "):
            hint = "a word without spaces, commas and '='" if isinstance(name, str) else BOOLEANS
            raise complain(f"axes.{name}", f"{name!r} is no name for an axis", hint)
        if isinstance(body, dict) and "only_if" in body:
            conditions[name] = body["only_if"]
            body = {key: value for key, value in body.items() if key != "only_if"}
        axes[name] = _read_axis(name, body, composer, complain)
    for name, condition in read_conditions(conditions, axes, complain).items():
        axes[name] = replace(axes[name], only_if=condition)
    refuse_overlap(axes, complain)
    for axis in axes.values():
        try_levels(axis, axes, composer, complain)
    return narrow(axes, composer, overrides)


def _read_axis(name: str, body: Any, composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    if name in ("seed", "seeds"):
        raise complain(where, "a seed is a replicate, never an axis", "write seeds: 3 instead")
    if isinstance(body, dict) and "paired" in body:
        return _read_paired_axis(name, body, composer, complain)
    if isinstance(body, dict) and ("key" in body or "levels" in body):
        return _read_key_axis(name, body, composer, complain)
    if isinstance(body, dict):
        return _read_map_axis(name, body, complain)
    if not composer.is_group(name):
        raise complain(
            where,
            f"there is no config group '{name}'",
            f"{did_you_mean(name, [g for g in composer.groups() if g != 'study'])}; "
            "to vary a value write {key: optimizer.lr, levels: [...]}",
        )
    return _read_group_axis(name, name, body, composer, complain)


def _read_group_axis(name: str, group: str, body: Any, composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    known = tuple(composer.options(group))
    levels: dict[str, tuple[str, ...]] = {}
    for level in _list(body, where, complain):
        if isinstance(level, bool):
            raise complain(where, f"{level_name(level)} is not a level of '{group}'", BOOLEANS)
        text = level_name(level)
        if text not in known:
            raise complain(
                where, f"there is no level '{text}' in the config group '{group}'", did_you_mean(text, known)
            )
        if text in levels:
            raise complain(where, f"the level '{text}' is there twice", "name each level once")
        levels[text] = (f"{group}={text}",)
    return Axis(name, levels, kind="group", key=group, known=known)


def _read_key_axis(name: str, body: dict[Any, Any], composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    _refuse_unknown(body, ("key", "levels"), where, complain)
    key = _config_key(body.get("key", name), f"{where}.key", complain)
    if composer.is_group(key):
        return _read_group_axis(name, key, body.get("levels"), composer, complain)
    levels: dict[str, tuple[str, ...]] = {}
    for value in _list(body.get("levels"), f"{where}.levels", complain):
        text = level_name(value)
        if text in levels:
            raise complain(f"{where}.levels", f"the level '{text}' is there twice", "name each level once")
        levels[text] = (_override(key, value, f"{where}.levels", complain),)
    return Axis(name, levels, kind="key", key=key)


def _read_map_axis(name: str, body: dict[Any, Any], complain: Complaint) -> Axis:
    where = f"axes.{name}"
    levels: dict[str, tuple[str, ...]] = {}
    for level, overrides in body.items():
        text = _new_level(level, levels, where, complain)
        levels[text] = read_overrides(overrides, f"{where}.{text}", complain)
    if not levels:
        raise complain(where, "has no levels", _LIST)
    return Axis(name, levels, kind="map")


def _read_paired_axis(name: str, body: dict[Any, Any], composer: Composer, complain: Complaint) -> Axis:
    """Several keys or groups that vary together: a level gives one value to each."""
    where = f"axes.{name}"
    _refuse_unknown(body, ("paired", "levels"), where, complain)
    keys = body["paired"]
    if not isinstance(keys, list) or len(keys) < 2:
        raise complain(f"{where}.paired", f"{keys!r} are not two keys or more", _PAIR)
    keys = [_config_key(key, f"{where}.paired", complain) for key in keys]
    if len(set(keys)) != len(keys):
        raise complain(f"{where}.paired", f"{keys!r} names a key twice", "name each once")
    given = body.get("levels")
    if isinstance(given, dict) and given:
        rows = list(given.items())
    else:
        rows = [(_pair_name(row), row) for row in _list(given, f"{where}.levels", complain)]
    levels: dict[str, tuple[str, ...]] = {}
    for level, values in rows:
        text = _new_level(level, levels, f"{where}.levels", complain)
        if not isinstance(values, list) or len(values) != len(keys):
            has = f"has {len(values)} values" if isinstance(values, list) else "is no list of values"
            problem = f"{values!r} {has}, where `paired` names {len(keys)} keys ({', '.join(keys)})"
            raise complain(f"{where}.levels", problem, _PAIR)
        levels[text] = tuple(_set(key, v, where, composer, complain) for key, v in zip(keys, values, strict=True))
    return Axis(name, levels, kind="map")


def _set(key: str, value: Any, where: str, composer: Composer, complain: Complaint) -> str:
    if not composer.is_group(key):
        return _override(key, value, f"{where}.levels", complain)
    known = composer.options(key)
    if level_name(value) not in known or isinstance(value, bool):
        hint = BOOLEANS if isinstance(value, bool) else did_you_mean(level_name(value), known)
        raise complain(f"{where}.levels", f"there is no level {value!r} in the config group '{key}'", hint)
    return f"{key}={level_name(value)}"


def _override(key: str, value: Any, where: str, complain: Complaint) -> str:
    text = write_override(key, value)
    try:
        parse_overrides([text])
    except LavitError as error:
        raise complain(
            where, f"{value!r} cannot be written as a value", "write text, a number, a list or a map"
        ) from error
    return text


def _pair_name(values: Any) -> str:
    return "/".join(map(level_name, values)) if isinstance(values, list) else level_name(values)


def _new_level(level: Any, levels: Mapping[str, Any], where: str, complain: Complaint) -> str:
    if isinstance(level, bool) or level is None:
        raise complain(where, f"{level_name(level)} is no name for a level", BOOLEANS)
    text = level_name(level)
    if not text.strip():
        raise complain(where, "a level has no name", _LIST)
    if text in levels:
        raise complain(where, f"the level '{text}' is there twice", "name each level once")
    return text


def _config_key(key: Any, where: str, complain: Complaint) -> str:
    if not isinstance(key, str) or not key.strip():
        raise complain(where, f"{key!r} is not a config key", "for example optimizer.lr")
    if key == "seed" or key.split(".")[0] in ("study", "hydra", "runs"):
        raise complain(where, f"'{key}' cannot be an axis", "seeds belong under `seeds`")
    try:
        parse_overrides([f"{key}=1"])
    except LavitError as error:
        raise complain(where, f"{key!r} is not a config key", "for example optimizer.lr") from error
    return key


def _refuse_unknown(body: Mapping[Any, Any], known: Sequence[str], where: str, complain: Complaint) -> None:
    for key in body:
        if key not in known:
            raise complain(f"{where}.{key}", "unknown key", did_you_mean(key, (*known, "only_if")))


def _list(value: Any, where: str, complain: Complaint) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise complain(where, "has no levels" if not value else f"{value!r} is not a list of levels", _LIST)
    return value
