"""Which comparisons a study makes, and what each is corrected with.

A family is declared in the study file and corrected by Holm within each benchmark; main effects are a second
family; sub-scores, slices and other splits are exploratory, corrected by Benjamini and Hochberg, and called
so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from reports.comparisons import arm_effects, interaction_effects, main_effects
from reports.effects import Effect, Effects
from reports.measure import Cube, Measure, Scores
from reports.spread import spread_of
from reports.study import Study
from reports.verdicts import correct, judge


def compute_effects(study: Study, scores: Scores, lower: Collection[str] = ()) -> Effects:
    """All comparisons: every primary score by Holm, every part, slice and further split exploratory.

    Args:
        study: what was declared.
        scores: the measures.
        lower: `benchmark/name` of the measures of which less is better.
    """
    unequal: dict[Measure, dict[str, float]] = {}
    found: list[Effect] = []
    exploratory: dict[tuple[str, ...], list[Effect]] = {}

    def close(effects: Sequence[Effect], method: str) -> None:
        found.extend(judge(correct(effects, method), study, scores.headline, lower))

    for measure in scores.primary:
        cube = scores.cube(measure)
        if cube is None:
            continue
        spread = spread_of(cube)
        unequal[measure] = spread.unequal
        arms = arm_effects(study, measure, cube, spread)
        close([e for e in arms if e.subject in study.family], "holm")
        rest = [replace(e, family="exploratory") for e in arms if e.subject not in study.family]
        exploratory.setdefault((measure.benchmark, "arms outside the family"), []).extend(rest)
        close(main_effects(study, measure, cube, spread), "holm")
        named, others = interaction_effects(study, measure, cube, spread)
        close(named, "holm")
        exploratory.setdefault((measure.benchmark, "interactions"), []).extend(others)
        for kind, sides in _side_measures(scores, measure).items():
            for side in sides:
                side_cube = scores.cube(side)
                if side_cube is None or not _varies(side_cube):
                    continue
                side_spread = spread_of(side_cube)
                unequal[side] = side_spread.unequal
                for make in (arm_effects, main_effects):
                    more = [replace(e, family="exploratory") for e in make(study, side, side_cube, side_spread)]
                    exploratory.setdefault((measure.benchmark, kind, make.__name__), []).extend(more)
    for group in exploratory.values():
        close(group, "fdr_bh")
    basis = ""
    if any(any(e.fitted) for e in found):
        basis = "by least squares over the arms of the fraction, interactions outside its model taken to be nil"
    elif study.extra.get("steps"):
        basis = "one step after another: each arm less the one before it"
    elif any(len(e.pairs) > 1 for e in found if e.kind == "main_effect"):
        basis = "averaged over matched pairs of arms that differ in one axis only"
    return Effects(found, unequal, bool(basis), basis)


def _varies(cube: Cube) -> bool:
    """Whether runs differ at all; a property of the examples alone is no outcome."""
    return bool(np.nanmax(cube.means_AS) > np.nanmin(cube.means_AS))


def _side_measures(scores: Scores, measure: Measure) -> dict[str, list[Measure]]:
    """What is looked at beside a score, in the groups within which it is corrected."""
    return {
        "parts": [replace(measure, name=name, part=True) for name in scores.parts(measure)],
        "slices": [replace(measure, kind=kind) for kind in scores.kinds(measure)],
        "splits": scores.splits(measure),
    }
