"""Make the comparisons of one measure, uncorrected: arms against the default, main effects, interactions."""

from __future__ import annotations

from dataclasses import replace

from experiments.designs.model import main_weights
from reports.contrast import Contrast, contrast
from reports.cube import Cube, Measure
from reports.effects import Effect
from reports.interactions import interactions
from reports.spread import Spread
from reports.study import Study


def matched_pairs(study: Study, axis: str, level: str) -> list[tuple[str, str]]:
    """Pairs (arm at `level`, arm at the axis's first level) that differ on this axis only; an arm that overrides
    more than its levels is in none."""
    first = study.axes[axis][0]
    arms = [arm for arm in study.arms if arm not in study.also]
    partners: dict[tuple[str, ...], str] = {}
    for arm in arms:
        if study.level(arm, axis) == first:
            partners.setdefault(_elsewhere(study, arm, axis), arm)
    found = []
    for arm in arms:
        if study.arms[arm].get(axis) == level and study.level(arm, axis) is not None:
            partner = partners.get(_elsewhere(study, arm, axis))
            found += [(arm, partner)] if partner is not None else []
    return found


def _elsewhere(study: Study, arm: str, axis: str) -> tuple[str, ...]:
    """An arm's levels on every other axis; one that it has no level of counts at its reference level."""
    return tuple(study.arms[arm].get(a) or study.reference(a) for a in study.axes if a != axis)


def arm_effects(study: Study, measure: Measure, cube: Cube, spread: Spread) -> list[Effect]:
    """Every arm against the default, uncorrected; ``spread``: from :func:`spread_of`."""
    return [
        _effect("arm", measure, cube, {arm: 1.0, study.default: -1.0}, spread, arm, study.default)
        for arm in study.others
    ]


def main_effects(study: Study, measure: Measure, cube: Cube, spread: Spread) -> list[Effect]:
    """Every level against its axis's first, uncorrected: over matched pairs, or by the model of a fraction."""
    found = []
    for axis, levels in study.axes.items():
        for level in levels[1:]:
            if study.extra.get("model"):
                found.append(_fitted_effect(study, measure, cube, spread, axis, level))
                continue
            pairs = matched_pairs(study, axis, level)
            # A pair counts where this measure exists for both (an arm without images has no text-to-image
            # score).
            usable = [pair for pair in pairs if all(cube.run_means(arm) for arm in pair)]
            weights: dict[str, float] = {}
            for arm, other in usable:
                weights[arm] = weights.get(arm, 0.0) + 1 / len(usable)
                weights[other] = weights.get(other, 0.0) - 1 / len(usable)
            effect = _effect("main_effect", measure, cube, weights, spread, level, levels[0])
            if not usable:
                reason = "no two arms differ in this axis only" if not pairs else "an arm of every pair has no score"
                effect = replace(effect, contrast=Contrast(reason=reason))
            found.append(replace(effect, axis=axis, pairs=tuple(usable), family="main effects"))
    return found


def interaction_effects(
    study: Study, measure: Measure, cube: Cube, spread: Spread
) -> tuple[list[Effect], list[Effect]]:
    """Two-way interactions: those of the axes that the study names (`interactions: [[a, b]]`), and the others."""
    named: list[Effect] = []
    others: list[Effect] = []
    declared = {frozenset(map(str, pair)) for pair in study.extra.get("interactions") or []}
    for found in interactions(study, cube):
        subject, against, axis = ("*".join(names) for names in (found.levels, found.against, found.axes))
        effect = _effect("interaction", measure, cube, found.weights, spread, subject, against)
        own = frozenset(found.axes) in declared
        effect = replace(effect, axis=axis, quadruples=found.quadruples)
        (named if own else others).append(replace(effect, family="interactions" if own else "exploratory"))
    return named, others


def _fitted_effect(study: Study, measure: Measure, cube: Cube, spread: Spread, axis: str, level: str) -> Effect:
    """A main effect of a fraction: least squares under the model that the study names, over the arms with a score."""
    first = study.axes[axis][0]
    terms = [str(term) for term in study.extra["model"]]
    usable = [arm for arm in study.arms if arm not in study.also and cube.run_means(arm)]
    rows = [{a: study.arms[arm].get(a) or study.reference(a) for a in study.axes} for arm in usable]
    fitted = main_weights(study.axes, rows, terms, axis, level, first) if usable else None
    weights = dict(zip(usable, fitted, strict=True)) if fitted is not None else {}
    effect = _effect("main_effect", measure, cube, weights, spread, level, first)
    if fitted is None:
        effect = replace(effect, contrast=Contrast(reason="the arms that have a score do not tell it apart"))
    sides = tuple(tuple(a for a in weights if study.arms[a].get(axis) == side) for side in (level, first))
    return replace(effect, axis=axis, fitted=(sides[0], sides[1]), family="main effects")


def _effect(
    kind: str,
    measure: Measure,
    cube: Cube,
    weights: dict[str, float],
    spread: Spread,
    subject: str,
    against: str,
) -> Effect:
    odd = tuple(arm for arm in weights if arm in spread.unequal)
    found = contrast(cube, weights, pooled=not odd, exclude=spread.outlying)
    return Effect(kind, measure, subject, against, found, unequal=odd, weights=weights)
