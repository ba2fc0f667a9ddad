"""Which comparisons a study makes, and what each is corrected with.

A family is declared in the study file and corrected by Holm within each benchmark; main effects are a second
family; sub-scores, slices, other splits, corpus metrics and numbers of a whole set are exploratory, corrected by
Benjamini and Hochberg, and called so, but for the headline.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from reports.bootstrap import bootstrapped
from reports.comparisons import arm_effects, interaction_effects, main_effects
from reports.effects import Effect, Effects
from reports.measure import Cube, Measure, Scores
from reports.sets import explained
from reports.spread import spread_of
from reports.study import Study
from reports.verdicts import correct, judge


def compute_effects(
    study: Study, scores: Scores, lower: Collection[str] = (), further: Collection[str] = ()
) -> Effects:
    """All comparisons: every primary score by Holm, every part, slice, further split and whole-set number exploratory.

    Args:
        study: what was declared.
        scores: the measures.
        lower: `benchmark/name` of the measures of which less is better.
        further: `benchmark/name` of the runs' metrics that are compared as well, where no record holds them.
    """
    unequal: dict[Measure, dict[str, float]] = {}
    found: list[Effect] = []
    exploratory: dict[tuple[str, ...], list[Effect]] = {}

    def close(effects: Sequence[Effect], method: str) -> None:
        found.extend(judge(correct(effects, method), study, scores.headline, lower))

    def explore(measure: Measure, group: str) -> None:
        cube = scores.cube(measure)
        if cube is None or not _varies(cube):
            return
        spread = spread_of(cube)
        unequal[measure] = spread.unequal
        for make in (arm_effects, main_effects):
            more = [replace(e, family="exploratory") for e in make(study, measure, cube, spread)]
            exploratory.setdefault((measure.benchmark, group, make.__name__), []).extend(_told(scores, cube, more))

    for measure in _judged(scores):
        cube = scores.cube(measure)
        if cube is None:
            continue
        spread = spread_of(cube)
        unequal[measure] = spread.unequal
        arms = _told(scores, cube, arm_effects(study, measure, cube, spread))
        close([e for e in arms if e.subject in study.family], "holm")
        rest = [replace(e, family="exploratory") for e in arms if e.subject not in study.family]
        exploratory.setdefault((measure.benchmark, "arms outside the family"), []).extend(rest)
        close(_told(scores, cube, main_effects(study, measure, cube, spread)), "holm")
        named, others = interaction_effects(study, measure, cube, spread)
        close(_told(scores, cube, named), "holm")
        exploratory.setdefault((measure.benchmark, "interactions"), []).extend(_told(scores, cube, others))
        for group, sides in _side_measures(scores, measure).items():
            for side in sides:
                explore(side, group)
    for label in dict.fromkeys(further):
        side_measure = scores.find(label)
        if side_measure is not None and side_measure.form == "set" and side_measure != scores.headline:
            explore(side_measure, "sets")
    for effects in exploratory.values():
        close(effects, "fdr_bh")
    basis = _basis(study, found)
    return Effects(bootstrapped(scores, found), unequal, bool(basis), basis)


def _judged(scores: Scores) -> list[Measure]:
    """What is corrected by Holm: every benchmark's own score, and the headline where it is another number."""
    headline = scores.headline
    other = [headline] if headline is not None and headline not in scores.primary else []
    return [*other, *scores.primary]


def _told(scores: Scores, cube: Cube, effects: list[Effect]) -> list[Effect]:
    """With the reason where a number of a whole set has no interval."""
    return [
        explained(e, cube, scores.frame, [arm for arm, w in e.weights.items() if w]) if e.measure.form == "set" else e
        for e in effects
    ]


def _basis(study: Study, found: Sequence[Effect]) -> str:
    """How main effects are made, in words; empty where findings are about arms."""
    if any(any(e.fitted) for e in found):
        return "by least squares over the arms of the fraction, interactions outside its model taken to be nil"
    if study.extra.get("steps"):
        return "one step after another: each arm less the one before it"
    if any(len(e.pairs) > 1 for e in found if e.kind == "main_effect"):
        return "averaged over matched pairs of arms that differ in one axis only"
    return ""


def _varies(cube: Cube) -> bool:
    """Whether runs differ at all; a property of the examples alone is no outcome."""
    return bool(np.nanmax(cube.means_AS) > np.nanmin(cube.means_AS))


def _side_measures(scores: Scores, measure: Measure) -> dict[str, list[Measure]]:
    """What is looked at beside a score, in the groups within which it is corrected."""
    if measure.form or measure.part:
        return {}
    parts = [replace(measure, name=name, part=True) for name in scores.parts(measure)]
    whole = [replace(measure, name=name, form="corpus") for name in scores.corpus_names(measure)]
    return {
        "parts": [part for part in parts if part != scores.headline],
        "slices": [replace(measure, kind=kind) for kind in scores.kinds(measure)],
        "splits": scores.splits(measure),
        "corpus": [made for made in whole if made != scores.headline],
    }
