"""Axes: what a study varies, and the overrides that make each level."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.compose import parse_overrides
from experiments.errors import Complaint, LavitError, did_you_mean

BOOLEANS = "YAML reads on, off, yes, no, true and false as booleans: rename the level, or quote it"


@dataclass(frozen=True)
class Axis:
    """What varies: a name and its levels, each a list of Hydra overrides. The first level is the default."""

    name: str
    levels: dict[str, tuple[str, ...]]  # level name -> overrides that make it
    kind: str = "group"  # group: levels of a config group | key: values of one key | map: several overrides a level
    key: str = ""  # the group or the key that varies; empty for a map
    known: tuple[str, ...] = ()  # every level that the group has, used by this study or not
    narrowed: bool = False  # whether the command line fixed it to one level
    only_if: dict[str, tuple[str, ...]] = field(default_factory=dict)  # other axes -> levels at which this one exists

    @property
    def default(self) -> str:
        """The level of the default arm."""
        return next(iter(self.levels))

    def is_active(self, levels: Mapping[str, str]) -> bool:
        """Whether the axis takes a level in an arm with these levels (axis -> level) of the others."""
        return all(levels.get(axis) in allowed for axis, allowed in self.only_if.items())

    def describe_condition(self) -> str:
        """`regime=unified & llm=lora|frozen`: where the axis takes a level; empty for everywhere."""
        return " & ".join(f"{axis}={'|'.join(allowed)}" for axis, allowed in self.only_if.items())

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
            raise complain(key, f"{name} is not a level of '{self.name}'", BOOLEANS)
        if name in self.levels or (any_known and (name in self.known or self.narrowed)):
            return name
        if self.narrowed:
            return self.default
        raise complain(key, f"the axis '{self.name}' has no level '{name}'", did_you_mean(name, self.levels))


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
