"""The best of a column, and what is not told from it: together they are printed bold.

An arm belongs to the best where its difference to the arm with the best mean, by the same estimator as every other
comparison, is not significant at 5 % after Holm's correction over the column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.contrast import LEVEL, contrast
from reports.measure import Cube
from reports.spread import Spread
from reports.verdicts import holm

Weights = Mapping[str, float]


def best_group(cube: Cube, rows: Sequence[Weights], lower: bool, spread: Spread) -> set[int]:
    """Places of the rows that are best or not told from it; empty where nothing could be tested.

    Args:
        cube: scores of the column's measure.
        rows: each row as a weighted mean of arms: `{arm: 1}` for an arm alone.
        lower: whether less is better.
        spread: which arms' seeds vary unlike the others'.
    """
    means = [_mean(cube, weights) for weights in rows]
    if not np.isfinite(means).any():
        return set()
    best = int(np.nanargmin(means) if lower else np.nanargmax(means))
    places, p_values = [], []
    for place, weights in enumerate(rows):
        if place == best or not np.isfinite(means[place]):
            continue
        against = {arm: weights.get(arm, 0.0) - rows[best].get(arm, 0.0) for arm in {**weights, **rows[best]}}
        odd = any(arm in spread.unequal for arm in against)
        found = contrast(cube, against, pooled=not odd, exclude=spread.outlying)
        if found.scope in ("seeds and examples", "seeds"):
            places.append(place)
            p_values.append(found.p)
    if not places:
        return set()
    adjusted = holm(np.array(p_values))
    return {best} | {place for place, p in zip(places, adjusted, strict=True) if p >= 1 - LEVEL}


def seeds_cube(arms: Sequence[str], values: Mapping[str, Mapping[int, float]]) -> Cube:
    """A cube of numbers of which each run has one: its contrasts are over seeds alone."""
    seeds = sorted({seed for per_seed in values.values() for seed in per_seed})
    values_ASC = np.full((len(arms), len(seeds), 1), np.nan)
    for a, arm in enumerate(arms):
        for s, seed in enumerate(seeds):
            values_ASC[a, s, 0] = values.get(arm, {}).get(seed, np.nan)
    return Cube(tuple(arms), tuple(seeds), values_ASC, 0)


def _mean(cube: Cube, weights: Weights) -> float:
    total = 0.0
    for arm, weight in weights.items():
        per_seed = cube.run_means(arm)
        if not per_seed:
            return float("nan")
        total += weight * float(np.mean(list(per_seed.values())))
    return total
