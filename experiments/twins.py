"""Twins: arms that come out as one and the same run, which would count one result twice.

Where a rule says what means nothing in them, the later one is merged into the first (`experiments.ruled`). Without a
rule twins are a mistake and are refused. Where a study stops early, axes that only later
stages read tell no arms apart: the later of two such arms is void there, with that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from experiments.design import Design, Levels, Removed
from experiments.errors import LavitError
from experiments.plan import Plan, Run
from experiments.study import Study
from experiments.voids import Void


class Twins(NamedTuple):
    """A run, and an earlier one of another arm and the same seed with the same stage keys."""

    first: Run
    second: Run

    @property
    def differing(self) -> Levels:
        """The levels of the second that are not the first's."""
        return {axis: level for axis, level in self.second.levels.items() if level != self.first.levels.get(axis)}


def find_twins(plan: Plan) -> list[Twins]:
    """Every arm whose run at the first seed is an earlier arm's run as well."""
    first: dict[tuple[str, ...], Run] = {}
    runs = [run for run in plan.runs if run.seed == plan.study.seeds[0]]
    pairs = [Twins(first.setdefault(tuple(run.stage_keys.values()), run), run) for run in runs]
    return [pair for pair in pairs if pair.first is not pair.second]


def refuse_twins(study: Study, twins: Sequence[Twins]) -> None:
    """Raise for the first pair."""
    for twin in twins:
        what = ", ".join(f"{axis}={level}" for axis, level in twin.differing.items()) or "what they override"
        raise LavitError(
            f"{study.file}: the arms '{twin.first.arm}' and '{twin.second.arm}' are one and the same run: "
            f"{what} changes nothing there",
            "take one of them out, or add a void rule for the combination, with its why",
        )


def void_twins(study: Study, design: Design, twins: Sequence[Twins]) -> Design:
    """The design without the second of each pair, each void because the study stops before what tells them apart.

    Raises:
        LavitError: a pair differs in no axis, so that no void could say what is left out, or `family` names an arm
            that is left out.
    """
    refuse_twins(study, [twin for twin in twins if not twin.differing])
    gone = {twin.second.arm: twin for twin in twins}
    for name in study.family or ():
        if name in gone:
            raise LavitError(
                f"{study.file}: family: '{name}' is the same run as '{gone[name].first.arm}', since the study stops at "
                f"'{study.until}'",
                "take it out of the family",
            )
    removed: dict[tuple[str, ...], list[Levels]] = {}
    for twin in twins:
        removed.setdefault(tuple(twin.differing), []).append(dict(twin.second.levels))
    voids = []
    for axes, arms in removed.items():
        when = {axis: tuple(dict.fromkeys(levels[axis] for levels in arms)) for axis in axes}
        names = " and ".join([", ".join(axes[:-1]), axes[-1]]) if len(axes) > 1 else axes[0]
        changes = "changes" if len(axes) == 1 else "change"
        why = f"the study stops at the stage {study.until}, and {names} {changes} nothing up to there"
        voids.append(Removed(Void(when, why), tuple(arms)))
    kept = tuple(arm for arm in design.arms if arm.name not in gone)
    if design.model or design.steps:
        same = ", ".join(dict.fromkeys(axis for void in voids for axis in void.void.when))
        raise LavitError(
            f"{study.file}: design: {study.design}: the study stops at the stage {study.until}, and {same} changes "
            "nothing up to there: a design for fewer axes is another design",
            f"take {same} out of the axes, or narrow it on the command line",
        )
    return replace(design, arms=kept, removed=(*design.removed, *voids))
