"""The levels of an axis side by side: the arms that stand for each, and the comparisons of each with the first.

In a design whose findings are about axes (a factorial, a fraction, steps) a level is the mean of its arms in the
matched pairs; otherwise it is the one arm that differs from the default on this axis alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.effects import Effect
from reports.measure import Measure
from reports.results import Results
from reports.wording import arms_of


@dataclass(frozen=True)
class Level:
    """One level of an axis on one measure.

    Attributes:
        name: the level.
        weights: arm -> its weight in the level's mean; empty where no arm stands for it.
        effect: its comparison with the first level; None for the first.
    """

    name: str
    weights: dict[str, float]
    effect: Effect | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that stand for it."""
        return tuple(self.weights)


def levels_of(results: Results, measure: Measure, axis: str) -> list[Level]:
    """The levels of an axis that arms of the study stand for, the first (the default's) before the others."""
    if results.effects.by_axis:
        return _matched(results, measure, axis)
    study = results.frame.study
    found = [Level(str(study.arms[study.default].get(axis)), {study.default: 1.0})]
    for arm in study.others:
        level = study.level(arm, axis)
        if arm in study.also or level is None or study.differences(arm, study.default) != [axis]:
            continue
        effect = results.effects.arm(measure, arm)
        if effect is not None and level not in [known.name for known in found]:
            found.append(Level(level, {arm: 1.0}, effect))
    return found


def _matched(results: Results, measure: Measure, axis: str) -> list[Level]:
    effects = [effect for effect in results.effects.main(measure) if effect.axis == axis]
    firsts: list[str] = []
    others = []
    for effect in effects:
        at_level, at_first = arms_of(effect)
        firsts += at_first
        others.append(Level(effect.subject, _even(at_level), effect))
    first = results.frame.study.axes[axis][0]
    return [Level(first, _even(firsts)), *others]


def _even(arms: list[str]) -> dict[str, float]:
    return {arm: arms.count(arm) / len(arms) for arm in dict.fromkeys(arms)}


def finding(levels: list[Level]) -> str:
    """What the comparisons of an axis found, in about five words."""
    first, effects = levels[0].name, [level.effect for level in levels[1:] if level.effect is not None]
    known = [effect for effect in effects if effect.verdict != "not estimable"]
    if not known:
        return "not estimable"
    if all(effect.verdict == "one seed" for effect in known):
        return "one seed, nothing called"
    names = {effect: _name(levels, effect) for effect in known}
    better = [names[effect] for effect in known if effect.verdict == "helps"]
    worse = [names[effect] for effect in known if effect.verdict == "hurts"]
    said = []
    if better:
        said.append(f"{_listed(better, len(known))} {'beat' if len(better) > 1 else 'beats'} {first}")
    if worse:
        said.append(f"{first} beats {_listed(worse, len(known))}")
    if said:
        return ", ".join(said)
    if all(effect.verdict == "equivalent" for effect in known):
        return f"{_listed(list(names.values()), len(known))} equivalent to {first}"
    return "no evidence of a difference"


def _name(levels: list[Level], effect: Effect) -> str:
    return next(level.name for level in levels if level.effect is effect)


def _listed(names: list[str], of: int) -> str:
    if len(names) > 2:
        return f"all {of} others" if len(names) == of else f"{len(names)} of {of} others"
    return " and ".join(names)
