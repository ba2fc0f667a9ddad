"""Do the seeds of one arm vary more than those of the others? An arm that does has an interval of its own variance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from reports.contrast import seed_variance
from reports.cube import Cube

UNEQUAL = 2.5  # an arm whose seed SD is this many times the other arms' is not pooled with them


def spread_ratio(means_AS: np.ndarray, arm: int) -> float:
    """An arm's spread over seeds (seeds blocked) relative to what the other arms' pooled spread predicts.

    Its square follows F(S - 1, (A - 2)(S - 1)) when all arms vary alike. NaN with fewer than three arms or
    two seeds.
    """
    present_S = np.isfinite(means_AS[arm])
    others = np.delete(means_AS, arm, axis=0)
    others = others[np.isfinite(others[:, present_S]).all(axis=1)]
    if len(others) < 2 or present_S.sum() < 2:
        return math.nan
    variance, df = seed_variance(others)
    if df <= 0 or not variance > 0:
        return math.nan
    deviation_S = means_AS[arm, present_S] - others[:, present_S].mean(axis=0)
    return float(np.sqrt(deviation_S.var(ddof=1) / (variance * (1 + 1 / len(others)))))


def outlying_arms(cube: Cube, ratios: Mapping[str, float]) -> tuple[str, ...]:
    """Of the arms that spread unlike the others, those that chance does not explain: they do not enter the pool.

    A flag alone is no reason to leave an arm out: among a dozen equal arms some spread further than the rest, and a
    pool without them is too small (family-wise error of 7 % instead of 5 % with two seeds, in simulation). So the
    ratio's F test must be significant at 5 % over the number of arms.
    """
    found = []
    for arm, ratio in ratios.items():
        others = [i for i, a in enumerate(cube.arms) if a != arm]
        df = seed_variance(cube.means_AS[others])[1]
        seeds = int(np.isfinite(cube.means_AS[cube.arms.index(arm)]).sum())
        if special.fdtrc(seeds - 1, df, ratio**2) < 0.05 / len(cube.arms):
            found.append(arm)
    return tuple(found)


@dataclass(frozen=True)
class Spread:
    """How the seeds of a measure's arms spread.

    unequal: arms whose seeds spread more than `UNEQUAL` times as far as the other arms', with the ratio.
    outlying: those of them that do not enter the pool, see `outlying_arms`.
    """

    unequal: dict[str, float]
    outlying: tuple[str, ...]


def spread_of(cube: Cube) -> Spread:
    """Look at the arms of a measure, once for all its comparisons."""
    ratios = {arm: spread_ratio(cube.means_AS, i) for i, arm in enumerate(cube.arms)}
    unequal = {arm: r for arm, r in ratios.items() if math.isfinite(r) and r > UNEQUAL}
    return Spread(unequal, outlying_arms(cube, unequal))
