"""One estimator for every comparison: a weighted difference of arms, its interval over seeds and examples.

Seeds and examples are crossed: every seed is scored on every example. With weights w over arms (sum 0 for a
difference), scores Y and the difference D[s, c] = sum_a w_a Y[a, s, c]:

    estimate  = mean of D
    s2        = sum R^2 / ((A - 1)(S - 1)),  R = run means less arm and seed effects     (seeds blocked,
    pooled) V_seed    = s2 * sum w^2 / S                                          (unpooled: variance over
    seeds of D / S) V_example = max(0, (MS_example - MS_residual) / (S C))     from the seeds x examples
    analysis of variance of D V         = V_seed + V_example;   degrees of freedom by Satterthwaite;
    interval = estimate +- t sqrt(V)

V_seed already holds the residual's share, hence the subtraction. This is the multi-reader multi-case analysis
of radiology (Dorfman, Berbaum & Metz 1992; Obuchowski & Rockette 1995) with seeds for readers and examples
for cases. With few degrees of freedom for the seeds (below `FEW`), V is not allowed below the examples-only
variance: in simulation this holds the unpooled interval of three seeds at its level, where without it single
pairs fall to 0.91.

Shape letters: A arms, S seeds, C clusters of examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

from reports.cube import Cube

LEVEL = 0.95
POWER = 0.80
FEW = 4
LONE = 2  # below so many degrees of freedom the seeds' variance is next to unknown
ONE_SEED = "one seed, and a number without a spread over examples"
RANK = 1e-9  # relative: below it a singular value is none
ROUNDING = 1e-12  # relative: what floating-point sums leave of a difference that is none


@dataclass(frozen=True)
class Contrast:
    """A weighted difference between arms, in stored units.

    `scope` says what the interval covers: `seeds and examples`, `seeds`, `this training run only` (one seed:
    examples only) or `none`. `reason` says why there is no interval. `seed_share` is the part of the variance
    that more seeds would shrink. `detectable` is the smallest true difference that this design would have
    called at 80 % power, at the first step of Holm's procedure over `family_size` comparisons.
    """

    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    df: float = math.nan
    p: float = math.nan
    n_seeds: int = 0
    n_examples: int = 0
    n_clusters: int = 0
    scope: str = "none"
    reason: str = ""
    pooled: bool = True
    variance_seed: float = math.nan
    variance_example: float = math.nan
    df_seed: float = math.nan
    unpooled_low: float = math.nan
    unpooled_high: float = math.nan
    p_adjusted: float = math.nan
    family_size: int = 1
    detectable: float = math.nan
    bootstrap_low: float = (
        math.nan
    )  # the two-way bootstrap of `reports.resample`: a check, and no verdict is made of it
    bootstrap_high: float = math.nan
    replicates: int = 0

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.se)

    @property
    def seed_share(self) -> float:
        """The seeds' part of the variance, 0-1."""
        total = self.variance_seed + self.variance_example
        return self.variance_seed / total if total > 0 else math.nan

    @property
    def significant(self) -> bool:
        """Whether the corrected test calls a difference, over seeds as well as examples."""
        return self.scope in ("seeds and examples", "seeds") and self.p_adjusted < 1 - LEVEL


def seed_variance(means_AS: np.ndarray) -> tuple[float, float]:
    """(variance of a run's mean between seeds, its degrees of freedom), arms pooled and seeds blocked.

    Runs that are missing (NaN) are left out: the additive model arm + seed is fitted to what is there. NaN
    and 0 where nothing is left to estimate it from.
    """
    known_AS = np.isfinite(means_AS)
    arms_A = known_AS.any(axis=1)
    known_AS, values_AS = known_AS[arms_A], np.where(known_AS, means_AS, 0.0)[arms_A]
    if not known_AS.size:
        return math.nan, 0.0
    # Arms are swept out, which leaves one equation a seed: a study of 200 arms costs no more than one of two.
    own_A = values_AS.sum(axis=1) / known_AS.sum(axis=1)
    centred_AS = np.where(known_AS, values_AS - own_A[:, None], 0.0)
    share_AS = known_AS / known_AS.sum(axis=1, keepdims=True)
    design_SS = np.diag(known_AS.sum(axis=0)) - known_AS.T.astype(float) @ share_AS
    seed_S, _, rank, _ = np.linalg.lstsq(design_SS, centred_AS.sum(axis=0), rcond=RANK)
    df = int(known_AS.sum()) - len(own_A) - int(rank)
    if df <= 0:
        return math.nan, 0.0
    fitted_AS = seed_S - (share_AS @ seed_S)[:, None]
    variance = float((np.where(known_AS, centred_AS - fitted_AS, 0.0) ** 2).sum() / df)
    return (0.0 if variance < (ROUNDING * np.abs(values_AS).max()) ** 2 else variance), float(df)


def contrast(cube: Cube, weights: Mapping[str, float], pooled: bool = True, exclude: Sequence[str] = ()) -> Contrast:
    """Estimate a weighted sum over arms with its 95 % interval over seeds and examples.

    Args:
        cube: scores of one measure.
        weights: arm -> weight; arms left out weigh 0. A difference has weights that sum to 0.
        pooled: estimate the seed variance from all arms (shorter intervals, equal variances assumed).
        exclude: arms kept out of the pool because their seeds vary unlike the others'.

    Returns:
        A contrast; without an interval, and with the reason, where an arm has no run or no seed is shared.
    """
    used = {arm: weight for arm, weight in weights.items() if weight}
    if not used:
        return Contrast(reason="no arm is weighed")
    absent = [arm for arm in used if not cube.run_means(arm)]
    if absent:
        return Contrast(reason=f"no finished run of {', '.join(absent)}")
    index = [cube.arms.index(arm) for arm in used]
    weight_A = np.array(list(used.values()), float)
    shared_S = np.isfinite(cube.means_AS[index]).all(axis=0)
    if not shared_S.any():
        return Contrast(reason="the arms share no seed")
    diff_SC = np.tensordot(weight_A, cube.values_ASC[index][:, shared_S], axes=1)
    seeds, clusters = diff_SC.shape
    largest = float(np.abs(cube.values_ASC[index][:, shared_S]).max())
    diff_SC[np.abs(diff_SC) < ROUNDING * largest] = 0.0
    estimate = float(diff_SC.mean())
    found = Contrast(
        estimate=estimate if abs(estimate) >= ROUNDING * largest else 0.0,
        n_seeds=seeds,
        n_examples=cube.examples,
        n_clusters=clusters,
        pooled=pooled,
    )
    if seeds == 1:
        return _examples_only(found, diff_SC)
    own_variance = float(diff_SC.mean(axis=1).var(ddof=1)) / seeds
    unpooled = _combine(found, diff_SC, own_variance, seeds - 1.0)
    if pooled:
        keep = [i for i, arm in enumerate(cube.arms) if arm not in exclude and cube.originals[i] == i]
        variance, df = seed_variance(cube.means_AS[keep])
        if df > 0:
            full = _combine(found, diff_SC, variance * _squared(weight_A, cube.originals[index]) / seeds, df)
            return replace(full, unpooled_low=unpooled.low, unpooled_high=unpooled.high)
    return replace(unpooled, pooled=False, unpooled_low=unpooled.low, unpooled_high=unpooled.high)


def _squared(weight_A: np.ndarray, original_A: np.ndarray) -> float:
    """Sum of squared weights, those of arms that are copies of one another added up first (unless nothing is left)."""
    together = float((np.bincount(original_A, weight_A) ** 2).sum())
    apart = float((weight_A**2).sum())
    return together if together > ROUNDING * apart else apart


def _examples_only(found: Contrast, diff_SC: np.ndarray) -> Contrast:
    """One seed: the interval covers examples, and speaks of this training run alone."""
    clusters = diff_SC.shape[1]
    if clusters < 2:
        what = "one seed and one example" if found.n_examples else ONE_SEED
        return replace(found, reason=what)
    variance = float(diff_SC.mean(axis=0).var(ddof=1)) / clusters
    return _interval(
        replace(found, scope="this training run only", variance_seed=0.0, variance_example=variance, df_seed=0.0),
        variance,
        clusters - 1.0,
    )


def _combine(found: Contrast, diff_SC: np.ndarray, variance_seed: float, df_seed: float) -> Contrast:
    seeds, clusters = diff_SC.shape
    if clusters < 2:
        seeds_only = replace(found, scope="seeds", variance_seed=variance_seed, variance_example=0.0, df_seed=df_seed)
        return _interval(seeds_only, variance_seed, df_seed)
    mean_C = diff_SC.mean(axis=0)
    residual = diff_SC - diff_SC.mean(axis=1, keepdims=True) - mean_C + diff_SC.mean()
    df_residual = (seeds - 1) * (clusters - 1)
    part_example = float(mean_C.var(ddof=1)) / clusters
    part_residual = float((residual**2).sum()) / df_residual / (seeds * clusters)
    variance_example = max(0.0, part_example - part_residual)
    variance = variance_seed + variance_example
    spread = variance_seed**2 / df_seed
    if variance_example > 0:
        spread += part_example**2 / (clusters - 1) + part_residual**2 / df_residual
    if df_seed < FEW and variance < part_example:
        variance = part_example
        variance_example = part_example - variance_seed
        spread = variance_seed**2 / df_seed + variance_example**2 / (clusters - 1)
    df = variance**2 / spread if spread > 0 else float(clusters - 1)
    if df_seed < LONE:
        df = min(df, _lone_df(variance_seed, variance_example, df_seed, clusters))
    return _interval(
        replace(
            found,
            scope="seeds and examples",
            variance_seed=variance_seed,
            variance_example=variance_example,
            df_seed=df_seed,
        ),
        variance,
        max(df, min(df_seed, clusters - 1.0)),
    )


def _lone_df(variance_seed: float, variance_example: float, df_seed: float, clusters: float) -> float:
    """Degrees of freedom as if seeds varied at least as much as examples.

    Two runs may lie close to each other by chance; Satterthwaite's formula then takes the examples' many degrees of
    freedom, and intervals of two seeds that differ cover 0.88 in simulation. So counted they cover 0.90 or more.
    """
    seed = max(variance_seed, variance_example)
    spread = seed**2 / df_seed + variance_example**2 / max(clusters - 1, 1)
    return (seed + variance_example) ** 2 / spread if spread > 0 else clusters - 1


def _interval(found: Contrast, variance: float, df: float) -> Contrast:
    se = math.sqrt(variance)
    half = float(special.stdtrit(df, 0.5 + LEVEL / 2)) * se
    certain = 1.0 if found.estimate == 0 else 0.0
    p = 2 * float(special.stdtr(df, -abs(found.estimate) / se)) if se > 0 else certain
    return replace(found, se=se, df=df, p=p, low=found.estimate - half, high=found.estimate + half)


@lru_cache(maxsize=4096)
def detectable_in_se(df: float, alpha: float, power: float = POWER) -> float:
    """The true difference, in standard errors, that a two-sided t test at `alpha` calls with this power.

    By the noncentral t distribution with the estimator's own degrees of freedom.
    """
    critical = float(special.stdtrit(df, 1 - alpha / 2))
    return float(special.nctdtrinc(df, 1 - power, critical))


def half_width(found: Contrast, seeds: int, clusters_factor: float = 1.0, alpha: float = 1 - LEVEL) -> float:
    """Half the interval that the same variances would give with other numbers of seeds and examples.

    Args:
        found: a contrast with an interval over seeds and examples.
        seeds: how many seeds instead.
        clusters_factor: how many times as many examples.
        alpha: one less the interval's level (95 % by default).
    """
    ratio = found.n_seeds / seeds
    part_seed = found.variance_seed * ratio
    part_example = found.variance_example / clusters_factor
    variance = part_seed + part_example
    if variance <= 0:
        return 0.0
    per_seed = found.df_seed / max(found.n_seeds - 1, 1)
    df_seed = max(per_seed * (seeds - 1), 1e-9)
    clusters = found.n_clusters * clusters_factor
    spread = part_seed**2 / df_seed + part_example**2 / max(clusters - 1, 1)
    df = variance**2 / spread
    if df_seed < LONE:
        df = min(df, _lone_df(part_seed, part_example, df_seed, clusters))
    return float(special.stdtrit(max(df, 1.0), 1 - alpha / 2)) * math.sqrt(variance)
