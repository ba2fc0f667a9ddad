"""Arms ranked over many benchmarks: do their ranks differ, and which from the default's? (Demsar 2006, JMLR 7.)

A benchmark is one draw here, so it takes ten of them before ranks say much (Demsar, section 3.2.2 asks for more than
ten): with fewer nothing is computed. Exploratory: seeds and examples do not enter, the contrasts of each benchmark do
that.

Shape letters: B benchmarks, A arms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reports.cube import Measure
    from reports.results import Results

FEWEST = 10
ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """An arm against another: the difference of their mean ranks, and two tests of it.

    Attributes:
        arm: the arm.
        against: the other.
        nemenyi: p of the post-hoc test over all pairs of arms (Nemenyi 1963), by the studentised range.
        wilcoxon: p of the signed-rank test of the two alone, zeros dropped, normal approximation where values tie.
    """

    arm: str
    against: str
    nemenyi: float
    wilcoxon: float


@dataclass(frozen=True)
class RankTest:
    """Friedman's test and what follows it.

    Attributes:
        benchmarks: what was ranked on, as `benchmark/metric`.
        ranks: arm -> mean rank, 1 the best.
        chi2: Friedman's statistic, corrected for ties.
        p: its p, by chi-squared with one degree of freedom less than arms.
        f: Iman and Davenport's (1980) F of the uncorrected statistic, which is less conservative.
        f_df: its degrees of freedom.
        f_p: its p.
        critical_difference: of mean ranks at 5 %, Nemenyi's.
        pairs: every arm against the default.
    """

    benchmarks: tuple[str, ...]
    ranks: dict[str, float]
    chi2: float
    p: float
    f: float
    f_df: tuple[int, int]
    f_p: float
    critical_difference: float
    pairs: tuple[Pair, ...]


def rank_tests(results: Results) -> RankTest | None:
    """Over the first score of each benchmark that judges an arm; None below ten benchmarks or three arms.

    Arms that lack one of them are left out.
    """
    measures = list({m.benchmark: m for m in reversed(results.outcomes)}.values())[::-1]
    arms = [a for a in results.frame.arms if all(_mean(results, m, a) is not None for m in measures)]
    if len(measures) < FEWEST or len(arms) < 3:
        return None
    labels = tuple(f"{m.benchmark}/{m.name}" for m in measures)
    scores_BA = np.array([[_mean(results, m, arm) for arm in arms] for m in measures], float)
    scores_BA[[label in results.lower for label in labels]] *= -1
    default = results.frame.study.default
    return rank(scores_BA, labels, arms, default) if default in arms else None


def _mean(results: Results, measure: Measure, arm: str) -> float | None:
    cube = results.scores.cube(measure)
    means = cube.run_means(arm) if cube is not None else {}
    return math.fsum(means.values()) / len(means) if means else None


def rank(scores_BA: np.ndarray, benchmarks: Sequence[str], arms: Sequence[str], default: str) -> RankTest:
    """Rank arms by scores of which more is better.

    Args:
        scores_BA: the scores.
        benchmarks: names of the rows.
        arms: names of the columns.
        default: the arm that the others are compared with.
    """
    from scipy import stats

    count, size = scores_BA.shape
    ranks_A = stats.rankdata(-scores_BA, axis=1).mean(axis=0)
    corrected = stats.friedmanchisquare(*scores_BA.T)
    plain = 12 * count / (size * (size + 1)) * float(((ranks_A - (size + 1) / 2) ** 2).sum())
    left = count * (size - 1) - plain
    f = (count - 1) * plain / left if left > 0 else math.inf
    df = (size - 1, (size - 1) * (count - 1))
    error = math.sqrt(size * (size + 1) / (6 * count))
    base = list(arms).index(default)
    pairs = []
    for i, arm in enumerate(arms):
        if arm != default:
            gap = abs(float(ranks_A[i] - ranks_A[base])) / error
            nemenyi = float(stats.studentized_range.sf(gap * math.sqrt(2), size, np.inf))
            pairs.append(Pair(arm, default, min(nemenyi, 1.0), signed_rank(scores_BA[:, i] - scores_BA[:, base])))
    critical = float(stats.studentized_range.isf(ALPHA, size, np.inf)) / math.sqrt(2) * error
    return RankTest(
        tuple(benchmarks),
        {arm: float(r) for arm, r in zip(arms, ranks_A, strict=True)},
        float(corrected.statistic),
        float(corrected.pvalue),
        f,
        df,
        float(stats.f.sf(f, *df)),
        critical,
        tuple(pairs),
    )


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros dropped; exact, but for ties and beyond 50 benchmarks."""
    from scipy import stats

    known = differences[differences != 0]
    if not len(known):
        return 1.0
    tied = len(np.unique(np.abs(known))) < len(known)
    return float(stats.wilcoxon(known, method="approx" if tied or len(known) > 50 else "exact").pvalue)
