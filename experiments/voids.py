"""Void combinations: levels that mean nothing together, each with the reason why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.axes import Axis
from experiments.errors import Complaint, did_you_mean

CellKey = frozenset[tuple[str, str]]
_EXAMPLE = "write - when: {AXIS: LEVEL}, and below it why: in words"


@dataclass(frozen=True)
class Void:
    """A rule that removes arms. `when` maps an axis to the levels that it covers; all listed axes must
    match, each of them at a place where it takes a level."""

    when: dict[str, tuple[str, ...]]
    why: str
    given: dict[str, tuple[str, ...]] = field(default_factory=dict)  # where the axes of `when` take levels at all
    nested: bool = False  # not a rule of the study file: the condition (`only_if`) of an axis, read as one
    cells: frozenset[CellKey] | None = None  # not a rule of the study file: the very cells that a rule of the config
    # folder takes out, of which `when` is the description
    label: str = "void"  # what the plan calls it: void, merged (into another arm: they are one run) or illegal
    general: bool = True  # whether `when` covers no more than what it takes out

    def matches(self, levels: Mapping[str, str]) -> bool:
        """Whether an arm with these levels (axis -> level) is void by this rule."""
        if self.cells is not None:
            return cell_key(levels) in self.cells
        conditions = (self.when, self.given) if self.given else (self.when,)
        return all(levels.get(axis) in covered for condition in conditions for axis, covered in condition.items())

    def describe(self) -> str:
        """`regime=adapter & target=continuous`, several levels of one axis joined by `|`."""
        return " & ".join(f"{axis}={'|'.join(covered)}" for axis, covered in self.when.items())


def cell_key(cell: Mapping[str, str]) -> CellKey:
    """A cell (a level of every axis) as a key, whatever the order of its axes."""
    return frozenset(cell.items())


def find_void(voids: tuple[Void, ...], levels: Mapping[str, str]) -> Void | None:
    """Return the first rule that makes these levels void, or None."""
    return next((void for void in voids if void.matches(levels)), None)


def read_voids(node: Any, axes: Mapping[str, Axis], complain: Complaint) -> tuple[Void, ...]:
    """Read the `void` rules of a study; each needs a `when` over its axes and a `why`."""
    if node is None:
        return ()
    if not isinstance(node, list):
        raise complain("void", f"{node!r} is not a list of rules", _EXAMPLE)
    voids = []
    for index, rule in enumerate(node):
        where = f"void[{index}]"
        if not isinstance(rule, dict):
            raise complain(where, f"{rule!r} is not a rule", _EXAMPLE)
        for key in rule:
            if key not in ("when", "why"):
                hint = did_you_mean(key, ("when", "why"))
                raise complain(
                    f"{where}.{key}",
                    "unknown key",
                    f"{hint}; a text with a comma needs a line of its own or quotes",
                )
        when, why = rule.get("when"), rule.get("why")
        if not isinstance(when, dict) or not when:
            raise complain(f"{where}.when", f"{when!r} names no levels", _EXAMPLE)
        if not isinstance(why, str) or not why.strip():
            raise complain(
                f"{where}.why",
                "missing",
                "say why these levels mean nothing together: plan and report print it",
            )
        covered = _read_when(when, where, axes, complain)
        voids.append(Void(covered, why.strip(), where_levels_exist(covered, axes)))
    return tuple(voids)


def _read_when(
    when: Mapping[Any, Any], where: str, axes: Mapping[str, Axis], complain: Complaint
) -> dict[str, tuple[str, ...]]:
    covered = {}
    for axis, value in when.items():
        if axis not in axes:
            raise complain(f"{where}.when", f"there is no axis '{axis}'", did_you_mean(axis, axes))
        values = value if isinstance(value, list) else [value]
        if not values:
            raise complain(f"{where}.when.{axis}", "names no level", _EXAMPLE)
        covered[axis] = tuple(
            axes[axis].read_level(v, f"{where}.when.{axis}", complain, any_known=True) for v in values
        )
    return covered


def where_levels_exist(covered: Mapping[str, tuple[str, ...]], axes: Mapping[str, Axis]) -> dict[str, tuple[str, ...]]:
    """The conditions of nested axes among those of a rule: where one takes no level the rule says nothing."""
    given: dict[str, tuple[str, ...]] = {}
    for name in covered:
        for parent, levels in axes[name].only_if.items():
            given[parent] = tuple(level for level in given.get(parent, levels) if level in levels)
    return given
