"""Metrics that are no mean over examples (corpus BLEU, a ratio of sums, FID): pseudo-values and the two-way bootstrap.

A corpus metric is a function of sums over examples, theta = f(sum_c x_c). Its jackknife pseudo-value of a cluster,
C theta - (C - 1) theta(without c), behaves as that cluster's own score would (Tukey 1958; Efron & Stein 1981): the
mean of the pseudo-values is theta less its bias of order 1/C, and their variance over clusters is theta's. So the one
estimator of `reports.contrast` takes them in place of scores, and the interval covers seeds and examples.

The two-way bootstrap resamples seeds and clusters together (Owen 2007, the pigeonhole bootstrap). It needs no
derivative, but with few seeds it covers too little (0.69 to 0.84 for 2 or 3 seeds that matter): it stands beside the
interval as a check, never in its place.

Shape letters: A arms, S seeds, C clusters, K sums that a metric is made of, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from reports.cube import Cube

Floats = NDArray[np.float64]
REPLICATES = 1000
Statistic = Callable[[Floats], Floats]
"""From sums [..., K] to the metric [...]."""


def corpus_bleu(sums: Floats, order: int = 4) -> Floats:
    """Corpus BLEU (Papineni et al. 2002, section 2.3) of summed counts, without smoothing.

    Args:
        sums: [..., 2 * order + 2]: matched n-grams for n = 1 to ``order``, n-grams written, words written, and words of
            the reference that is nearest in length.
        order: the longest n-gram.
    """
    matched, written = sums[..., :order], sums[..., order : 2 * order]
    words, reference = sums[..., 2 * order], sums[..., 2 * order + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(matched / written).mean(axis=-1))
        brevity = np.where(words < reference, np.exp(1 - reference / words), 1.0)
    return np.where((matched > 0).all(axis=-1) & (words > 0), precision * brevity, 0.0)


def ratio_of_sums(sums: Floats) -> Floats:
    """Sum of the first over sum of the second, [..., 2]; 0 where the second is."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] != 0)


def pseudo_values(sums_ASCK: Floats, statistic: Statistic) -> Floats:
    """Jackknife pseudo-values [A, S, C] of a corpus metric; runs that are missing (NaN) stay so.

    Raises:
        ValueError: fewer than two clusters.
    """
    clusters = sums_ASCK.shape[2]
    if clusters < 2:
        raise ValueError(f"{clusters} cluster: nothing can be left out")
    total = sums_ASCK.sum(axis=2, keepdims=True)
    whole_AS1, without_ASC = statistic(total), statistic(total - sums_ASCK)
    values = clusters * whole_AS1 - (clusters - 1) * without_ASC
    return np.where(np.isfinite(sums_ASCK).all(axis=-1), values, np.nan)


def pseudo_cube(cube: Cube, sums_ASCK: Floats, statistic: Statistic) -> Cube:
    """``cube`` with the pseudo-values of a corpus metric in place of scores."""
    return Cube(cube.arms, cube.seeds, pseudo_values(sums_ASCK, statistic), cube.examples)


class Resamples:
    """A metric of every run, of clusters drawn again and again: once for all comparisons that are made of it."""

    def __init__(self, sums_ASCK: Floats, replicates: int = REPLICATES, seed: int = 0):
        self.seed = seed
        self.present_AS = np.asarray(np.isfinite(sums_ASCK).all(axis=(2, 3)))
        arms, seeds, clusters, width = sums_ASCK.shape
        rng = np.random.default_rng([seed, 1])
        counts_RC = np.empty((replicates, clusters))
        for counts_C in counts_RC:
            counts_C[:] = np.bincount(rng.integers(0, clusters, clusters), minlength=clusters)
        self.totals_RASK = np.empty((replicates, arms, seeds, width))
        for arm in range(arms):  # one arm at a time: a thousand runs are too much to lay out twice
            flat = np.moveaxis(sums_ASCK[arm], 1, 0).reshape(clusters, seeds * width)
            self.totals_RASK[:, arm] = (counts_RC @ flat).reshape(replicates, seeds, width)

    def interval(self, statistic: Statistic, weights: Mapping[int, float], level: float = 0.95) -> tuple[float, float]:
        """The percentile interval of a weighted sum over arms, seeds that all of them have drawn anew as well.

        Args:
            statistic: from sums to the metric.
            weights: place of an arm -> its weight.
            level: of the interval.
        """
        arms = [arm for arm, weight in weights.items() if weight]
        shared = np.flatnonzero(self.present_AS[arms].all(axis=0))
        values_RAS = statistic(self.totals_RASK[:, arms][:, :, shared])
        diff_RS = np.tensordot(values_RAS, np.array([weights[arm] for arm in arms]), axes=(1, 0))
        drawn_RS = np.asarray(np.random.default_rng([self.seed, 2]).integers(0, len(shared), size=diff_RS.shape))
        found = np.take_along_axis(diff_RS, drawn_RS, axis=1).mean(axis=1)
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def two_way_bootstrap(
    sums_ASCK: Floats,
    statistic: Statistic,
    weights: Mapping[int, float],
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(estimate, low, high) of a weighted sum over arms, by resampling seeds and clusters together.

    Args:
        sums_ASCK: each run's sums of each cluster; seeds that lack an arm that is weighed are left out.
        statistic: from sums to the metric.
        weights: place of an arm -> its weight.
        replicates: resamples.
        level: of the percentile interval.
        seed: of the resampling.
    """
    resamples = Resamples(sums_ASCK[list(weights)], replicates, seed)
    own = dict(enumerate(weights.values()))
    shared = resamples.present_AS.all(axis=0)
    totals_ASK = sums_ASCK[list(weights)][:, shared].sum(axis=2)
    estimate = float(np.array(list(own.values())) @ statistic(totals_ASK).mean(axis=1))
    return (estimate, *resamples.interval(statistic, own, level))
