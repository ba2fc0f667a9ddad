"""McNemar's test: of the examples on which two arms differ, does one win more often than chance would have it?

For right-or-wrong scores, within one seed. It conditions on the runs that there are: a small p says that *these two
models* differ, not that the arms do. So it stands beside the contrast, which covers seeds too, and never replaces it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from reports.cube import Cube


@dataclass(frozen=True)
class Discordance:
    """One seed's examples by who was right.

    Attributes:
        seed: the runs' seed.
        wins: examples that the arm alone got right.
        losses: examples that the other arm alone got right.
        p: exact two-sided p (McNemar 1947, in the binomial form); 1 where no example tells them apart.
        mid_p: the less conservative mid-p (Fagerland, Lydersen & Laake 2013).
    """

    seed: int
    wins: int
    losses: int
    p: float
    mid_p: float


@lru_cache(maxsize=65536)
def mcnemar(wins: int, losses: int) -> tuple[float, float]:
    """(exact p, mid-p) of McNemar's test, two-sided.

    Args:
        wins: pairs in which only the first was right.
        losses: pairs in which only the second was right.
    """
    trials = wins + losses
    if trials == 0:
        return 1.0, 1.0
    if wins == losses:
        return 1.0, 1.0
    exact = min(1.0, 2 * float(special.bdtr(min(wins, losses), trials, 0.5)))
    logarithm = special.gammaln(trials + 1) - special.gammaln(wins + 1) - special.gammaln(losses + 1)
    return exact, exact - math.exp(logarithm - trials * math.log(2))


def discordances(cube: Cube, arm: str, against: str) -> list[Discordance]:
    """McNemar's test of two arms in each seed that both have; empty where scores are not right or wrong.

    Clustered examples (several questions of an image) are no independent trials: none is computed for them either.
    """
    if cube.examples != cube.values_ASC.shape[2]:
        return []
    rows = cube.values_ASC[[cube.arms.index(arm), cube.arms.index(against)]]
    known = rows[np.isfinite(rows)]
    if not np.isin(known, (0.0, 1.0)).all():
        return []
    found = []
    for place, seed in enumerate(cube.seeds):
        mine, theirs = rows[0, place], rows[1, place]
        if np.isfinite(mine).all() and np.isfinite(theirs).all():
            wins, losses = int((mine > theirs).sum()), int((theirs > mine).sum())
            found.append(Discordance(int(seed), wins, losses, *mcnemar(wins, losses)))
    return found
