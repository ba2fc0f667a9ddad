"""Nested axes: an axis that exists only where others are at certain levels (`only_if`).

A *cell* gives every axis a level. An axis that has no level to take (its condition does not hold) stands at its
reference level there, the default's, so that a cell is never counted twice; every other level of it is a void cell.
An arm's `levels` are those of its cell without the axes that take none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from experiments.axes import Axis
from experiments.errors import Complaint, did_you_mean
from experiments.voids import Void

Levels = dict[str, str]  # axis -> level
NO_LEVEL = "–"  # what tables show where an axis takes no level


def read_conditions(
    nodes: Mapping[str, Any], axes: Mapping[str, Axis], complain: Complaint
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Read every axis' `only_if`: axis -> the levels of other axes at which it exists.

    A condition holds its parents' own conditions as well, so that it can be looked up in one step.

    Args:
        nodes: axis -> its `only_if` as the file has it; axes that exist everywhere are left out.
        axes: all axes of the study.
        complain: makes the errors.
    """
    own = {name: _read_condition(name, node, axes, complain) for name, node in nodes.items()}
    return {name: _with_parents(name, own, (), complain) for name in own}


def _read_condition(name: str, node: Any, axes: Mapping[str, Axis], complain: Complaint) -> dict[str, tuple[str, ...]]:
    where = f"axes.{name}.only_if"
    if not isinstance(node, dict) or not node:
        raise complain(where, f"{node!r} is no condition", "write only_if: {AXIS: LEVEL}, or {AXIS: [LEVEL, LEVEL]}")
    condition = {}
    for parent, value in node.items():
        if parent not in axes or parent == name:
            others = [axis for axis in axes if axis != name]
            raise complain(where, f"there is no other axis '{parent}'", did_you_mean(parent, others))
        values = value if isinstance(value, list) else [value]
        if not values:
            raise complain(f"{where}.{parent}", "names no level", "write the levels at which the axis exists")
        read = [axes[parent].read_level(v, f"{where}.{parent}", complain) for v in values]
        condition[parent] = tuple(dict.fromkeys(read))
    return condition


def _with_parents(
    name: str, own: Mapping[str, dict[str, tuple[str, ...]]], above: tuple[str, ...], complain: Complaint
) -> dict[str, tuple[str, ...]]:
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise complain(f"axes.{name}.only_if", f"goes in a circle: {circle}", "take one of these conditions out")
    whole = dict(own.get(name, {}))
    for parent in own.get(name, {}):
        for axis, levels in _with_parents(parent, own, (*above, name), complain).items():
            whole[axis] = tuple(level for level in whole.get(axis, levels) if level in levels)
            if not whole[axis]:
                raise complain(
                    f"axes.{name}.only_if",
                    f"never holds: '{parent}' exists only where {axis} is {' or '.join(levels)}",
                    "name a level at which both can hold",
                )
    return whole


def active_levels(axes: Mapping[str, Axis], cell: Mapping[str, str]) -> Levels:
    """The levels of a cell without the axes that take none there, in the order of the axes."""
    return {name: cell[name] for name, axis in axes.items() if name in cell and axis.is_active(cell)}


def whole_cell(levels: Mapping[str, str], reference: Mapping[str, str]) -> Levels:
    """The cell of an arm's levels: an axis that takes none stands at its reference level."""
    return {axis: levels.get(axis, level) for axis, level in reference.items()}


def nested_voids(axes: Mapping[str, Axis], reference: Mapping[str, str]) -> tuple[Void, ...]:
    """The conditions as void rules: no cell has a level, other than the reference, of an axis that takes none."""
    voids = []
    for axis in axes.values():
        others = tuple(level for level in axis.levels if level != reference[axis.name])
        for parent, allowed in axis.only_if.items():
            outside = tuple(level for level in axes[parent].levels if level not in allowed)
            if others and outside:
                why = f"{axis.name} has levels only where {axis.describe_condition()}"
                voids.append(Void({parent: outside, axis.name: others}, why, nested=True))
    return tuple(voids)


def cells(
    axes: Mapping[str, Axis], reference: Mapping[str, str], fixed: Mapping[str, str] | None = None
) -> Iterator[Levels]:
    """All cells, the reference level first in each axis, the last axis varying fastest; none is a nested void.

    Args:
        axes: the axes of a study.
        reference: axis -> level that stands where an axis takes none: the default's.
        fixed: axes that are held at one level; cells in which one of them takes none are left out.
    """
    fixed = fixed or {}
    if not any(axis.only_if for axis in axes.values()):
        for combination in itertools.product(*_choices(axes.values(), reference, fixed)):
            yield dict(zip(axes, combination, strict=True))
        return
    ranks = {
        axis.name: {level: rank for rank, level in enumerate(levels)}
        for axis, levels in zip(axes.values(), _choices(axes.values(), reference, {}), strict=True)
    }
    yield from sorted(
        ({name: cell[name] for name in axes} for cell in _grown(axes, reference, fixed)),
        key=lambda cell: [ranks[name].get(level, 0) for name, level in cell.items()],
    )


def count_cells(axes: Mapping[str, Axis], reference: Mapping[str, str], most: int) -> int:
    """Number of cells; where there are more than ``most``, a number above it that is at most theirs."""
    parents = {parent for axis in axes.values() for parent in axis.only_if}
    free = [name for name, axis in axes.items() if not axis.only_if and name not in parents]
    bound = {name: axis for name, axis in axes.items() if name not in free}
    return math.prod(len(axes[name].levels) for name in free) * len(_grown(bound, reference, {}, most))


def _grown(
    axes: Mapping[str, Axis], reference: Mapping[str, str], fixed: Mapping[str, str], most: float = math.inf
) -> list[Levels]:
    """The cells in any order. Parents are decided first, so that nothing is gone through that does not exist; with
    more than ``most`` of them the rest of the axes are left undecided."""
    order = sorted(axes.values(), key=lambda axis: len(axis.only_if))  # a condition holds its parents' conditions
    found: list[Levels] = [{}]
    for axis, levels in zip(order, _choices(order, reference, fixed), strict=True):
        if len(found) > most:
            break
        grown: list[Levels] = []
        for cell in found:
            if axis.is_active(cell):
                grown += [{**cell, axis.name: level} for level in levels]
            elif axis.name not in fixed:
                grown.append({**cell, axis.name: reference[axis.name]})
        found = grown
    return found


def _choices(axes: Iterable[Axis], reference: Mapping[str, str], fixed: Mapping[str, str]) -> list[list[str]]:
    choices = []
    for axis in axes:
        first = reference[axis.name]
        levels = [first, *(level for level in axis.levels if level != first)]
        choices.append([fixed[axis.name]] if axis.name in fixed else levels)
    return choices
