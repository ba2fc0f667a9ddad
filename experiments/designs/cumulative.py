"""Cumulative: from everything at its far end to the default, one component after another (a "roadmap" table).

The order is part of the question: what a component adds is what it adds to those before it. Each arm is compared with
the default, like any arm, and with the arm that it follows: these two differ in one axis, so that the report's main
effects are the steps.
"""

from __future__ import annotations

import itertools

from experiments.design import Arm, Design, Levels, Removals, differences, make_arm
from experiments.designs.leave_one_out import off_level
from experiments.errors import LavitError
from experiments.nesting import active_levels
from experiments.study import Study
from experiments.voids import find_void


def build(study: Study) -> Design:
    """The default, then the start, then one axis after another at its default level."""
    order = [a for a in study.design_options.get("order", study.axes) if len(study.axes[a].levels) > 1]
    if not order:
        raise LavitError(f"{study.file}: design: cumulative: no axis has two levels to step between", "see `axes`")
    levels = {**study.default, **{axis: off_level(study, axis) for axis in order}}
    removed = Removals()
    path: list[Arm] = []
    for added in ("", *order):
        levels = {**levels, added: study.default[added]} if added else levels
        arm = _valid(study, levels, order, added, removed)
        if arm is None:
            continue
        if path and arm.cell == path[-1].cell:
            note = f"+ {added} adds nothing: the arm before had to move there already"
            path[-1] = make_arm(study, path[-1].cell, "; ".join(filter(None, (path[-1].note, note))))
            continue
        path.append(arm)
    default = next((arm for arm in path if arm.cell == study.default), make_arm(study, dict(study.default)))
    if path[-1].cell != study.default:
        path.append(default)
    steps = tuple((after.name, before.name) for before, after in itertools.pairwise(path))
    return Design((default, *(arm for arm in path if arm is not default)), removed.collect(), steps=steps)


def _valid(study: Study, levels: Levels, order: list[str], added: str, removed: Removals) -> Arm | None:
    """The arm of these levels, or the nearest valid one, which says so; what is added stays added."""
    levels = {**study.default, **active_levels(study.axes, levels)}  # a nested axis waits until it takes levels
    void = find_void(study.voids, levels)
    if void is None:
        return make_arm(study, levels)
    removed.add(void, levels)
    done = order[: order.index(added) + 1] if added else []
    free = [axis for axis in order if axis not in done]
    for count in range(1, len(free) + 1):
        for changed in itertools.combinations(free, count):
            choices = [[v for v in study.axes[a].levels if v != levels[a]] for a in changed]
            for values in itertools.product(*choices):
                moved = {**levels, **dict(zip(changed, values, strict=True))}
                if find_void(study.voids, moved) is None:
                    extra = ", ".join(f"{a}={moved[a]}" for a in differences(moved, levels))
                    step = f"+ {added}" if added else "the start"
                    return make_arm(study, moved, f"{step} is void ({void.why}): nearest valid arm, {extra}")
    return None
