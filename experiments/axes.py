"""Axes: what a study varies, and the overrides that make each level."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.compose import Composer, parse_overrides
from experiments.errors import Complaint, LavitError, did_you_mean

_BOOLEANS = "YAML reads on, off, yes, no, true and false as booleans: rename the level, or quote it"


@dataclass(frozen=True)
class Axis:
    """What varies: a name and its levels, each a list of Hydra overrides. The first level is the default."""

    name: str
    levels: dict[str, tuple[str, ...]]  # level name -> overrides that make it
    kind: str = "group"  # group: levels of a config group | key: values of one key | map: several overrides a level
    key: str = ""  # the group or the key that varies; empty for a map
    known: tuple[str, ...] = ()  # every level that the group has, used by this study or not
    narrowed: bool = False  # whether the command line fixed it to one level

    @property
    def default(self) -> str:
        """The level of the default arm."""
        return next(iter(self.levels))

    def read_level(self, value: Any, key: str, complain: Complaint, any_known: bool = False) -> str:
        """Return the name of the level that `value` means; refuse one that this axis does not have.

        Args:
            value: what the file says.
            key: where it says it, for the message.
            complain: makes the error.
            any_known: also accept a level of the group that this study does not use (in `void`, where it
                never matches).
        """
        name = level_name(value)
        if self.kind != "key" and isinstance(value, bool):
            raise complain(key, f"{name} is not a level of '{self.name}'", _BOOLEANS)
        if name in self.levels or (any_known and (name in self.known or self.narrowed)):
            return name
        if self.narrowed:
            return self.default
        raise complain(key, f"the axis '{self.name}' has no level '{name}'", did_you_mean(name, self.levels))


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
    axes = {}
    for name, body in node.items():
        if not isinstance(name, str):
            raise complain(f"axes.{name}", f"{name!r} is no name for an axis", _BOOLEANS)
        axes[name] = _read_axis(name, body, composer, complain)
    _refuse_overlap(axes, complain)
    return _narrow(axes, composer, overrides)


def read_overrides(value: Any, key: str, complain: Complaint) -> tuple[str, ...]:
    """Read a list of Hydra overrides (or a single one); each must parse, and may touch neither study, seed
    nor hydra."""
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise complain(
            key, f"{value!r} is not a list of overrides", "write them as [train.steps=200, optimizer.lr=1e-4]"
        )
    for text in texts:
        try:
            override = parse_overrides([text])[0]
        except LavitError as error:
            raise complain(key, error.message, error.hint) from error
        top = override.key_or_group.split(".")[0].split("/")[0]
        if top in ("study", "seed", "hydra", "runs"):
            raise complain(
                key,
                f"'{text}' may not set {top} here",
                "seeds belong under `seeds`; the rest on the command line",
            )
    return tuple(texts)


def level_name(value: Any) -> str:
    """How a level is called: text as it is, other values as YAML would write them."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def write_override(key: str, value: Any) -> str:
    """Return the Hydra override that sets `key` to `value`, quoted so that its type survives."""
    return f"{key}={_write(value)}"


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_write(str(k))}:{_write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_write(item) for item in value) + "]"
    if isinstance(value, str):
        if (
            value
            and all(c.isalnum() or c in "_./-" for c in value)
            and parse_overrides([f"k={value}"])[0].value() == value
        ):
            return value
        return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"
    return json.dumps(value)


def _read_axis(name: str, body: Any, composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    if name in ("seed", "seeds"):
        raise complain(where, "a seed is a replicate, never an axis", "write seeds: 3 instead")
    if isinstance(body, dict) and ("key" in body or "levels" in body):
        return _read_key_axis(name, body, composer, complain)
    if isinstance(body, dict):
        return _read_map_axis(name, body, composer, complain)
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
            raise complain(where, f"{level_name(level)} is not a level of '{group}'", _BOOLEANS)
        text = level_name(level)
        if text not in known:
            raise complain(
                where, f"there is no level '{text}' in the config group '{group}'", did_you_mean(text, known)
            )
        if text in levels:
            raise complain(where, f"the level '{text}' is there twice")
        levels[text] = (f"{group}={text}",)
    return Axis(name, levels, kind="group", key=group, known=known)


def _read_key_axis(name: str, body: dict[Any, Any], composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    for key in body:
        if key == "only_if":
            raise complain(f"{where}.only_if", "nested axes are not built yet", "use a void rule")
        if key not in ("key", "levels"):
            raise complain(f"{where}.{key}", "unknown key", did_you_mean(key, ("key", "levels")))
    key = body.get("key", name)
    if not isinstance(key, str) or not key:
        raise complain(f"{where}.key", f"{key!r} is not a config key", "for example optimizer.lr")
    if key == "seed" or key.split(".")[0] in ("study", "hydra", "runs"):
        raise complain(f"{where}.key", f"'{key}' cannot be an axis", "seeds belong under `seeds`")
    if composer.is_group(key):
        return _read_group_axis(name, key, body.get("levels"), composer, complain)
    levels: dict[str, tuple[str, ...]] = {}
    for value in _list(body.get("levels"), f"{where}.levels", complain):
        text = level_name(value)
        if text in levels:
            raise complain(f"{where}.levels", f"the level '{text}' is there twice")
        levels[text] = (write_override(key, value),)
        _try(composer, levels[text], f"{where}.key", complain)
    return Axis(name, levels, kind="key", key=key)


def _read_map_axis(name: str, body: dict[Any, Any], composer: Composer, complain: Complaint) -> Axis:
    where = f"axes.{name}"
    levels: dict[str, tuple[str, ...]] = {}
    for level, overrides in body.items():
        if isinstance(level, bool) or level is None:
            raise complain(where, f"{level_name(level)} is no name for a level", _BOOLEANS)
        text = level_name(level)
        if text in levels:
            raise complain(where, f"the level '{text}' is there twice")
        levels[text] = read_overrides(overrides, f"{where}.{text}", complain)
        _try(composer, levels[text], f"{where}.{text}", complain)
    if not levels:
        raise complain(where, "has no levels", "write [LEVEL, LEVEL]; the first is the default")
    return Axis(name, levels, kind="map")


def _list(value: Any, where: str, complain: Complaint) -> list[Any]:
    if not isinstance(value, list) or not value:
        problem = "has no levels" if not value else f"{value!r} is not a list of levels"
        raise complain(where, problem, "write [LEVEL, LEVEL]; the first is the default")
    return value


def _try(composer: Composer, overrides: Sequence[str], where: str, complain: Complaint) -> None:
    try:
        composer.compose(overrides)
    except LavitError as error:
        raise complain(where, error.message, error.hint) from error


def _refuse_overlap(axes: dict[str, Axis], complain: Complaint) -> None:
    """Two axes that set the same key would each undo the other."""
    owner: dict[str, str] = {}
    for axis in axes.values():
        for override in parse_overrides([text for level in axis.levels.values() for text in level]):
            other = owner.setdefault(override.key_or_group, axis.name)
            if other != axis.name:
                raise complain(
                    f"axes.{axis.name}", f"sets '{override.key_or_group}', as the axis '{other}' does",
                    "let one axis set it, or make the pair one axis that maps a level to several overrides",
                )  # fmt: skip


def _narrow(axes: dict[str, Axis], composer: Composer, overrides: Sequence[str]) -> tuple[dict[str, Axis], list[str]]:
    by_key = {axis.key: axis for axis in axes.values() if axis.key}
    by_name = {axis.name: axis for axis in axes.values() if axis.kind == "map"}
    inside = {
        override.key_or_group: axis.name
        for axis in by_name.values()
        for override in parse_overrides([text for level in axis.levels.values() for text in level])
    }
    rest = []
    for override in parse_overrides(overrides):
        text = str(override.input_line)
        if override.key_or_group == "seed":
            raise LavitError(f"'{text}': a study has seeds of its own", "write study.seeds=[1]")
        if override.key_or_group in inside:
            raise LavitError(
                f"'{text}': the axis '{inside[override.key_or_group]}' sets this key itself",
                f"narrow the axis instead: {inside[override.key_or_group]}=LEVEL",
            )
        axis = by_key.get(override.key_or_group) or by_name.get(override.key_or_group)
        if axis is None or override.is_delete():
            rest.append(text)
            continue
        composer.compose(
            (text,) if axis.kind != "map" else ()
        )  # an unknown level is refused here, with the nearest right one
        name = level_name(override.value())
        if axis.kind == "map" and name not in axis.levels:
            raise LavitError(f"'{text}': the axis '{axis.name}' has no level '{name}'", did_you_mean(name, axis.levels))
        made = axis.levels.get(name, (text,))
        axes[axis.name] = Axis(axis.name, {name: made}, axis.kind, axis.key, axis.known, narrowed=True)
    return axes, rest
