"""The statistics by simulation: coverage, family-wise error and power, over Gaussian, 0/1 and clustered scores.

A short seeded form runs by default; the long one (2,000 studies a cell) with the slow tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from reports.comparisons import arm_effects
from reports.contrast import contrast
from reports.measure import Cube, Measure, build_cube
from reports.spread import spread_of
from reports.study import Study
from reports.verdicts import correct

EXAMPLES = 200
MEASURE = Measure("task", "score", "test")
KINDS = ("gauss", "binary", "clustered", "clustered binary")
PAIR = {"a1": 1.0, "a0": -1.0}
MAIN = {f"a{i}": (-1) ** (i + 1) / 4 for i in range(8)}  # over four matched pairs
INTERACTION = {"a0": 1.0, "a1": -1.0, "a2": -1.0, "a3": 1.0}


def simulate(rng: np.random.Generator, kind: str, arms: int, seeds: int, spread: float, effect: float = 0.0) -> Cube:
    """A study whose arms are equal but for the last, which is better by ``effect`` (in Gaussian units).

    ``spread`` is the SD over seeds of a run's luck. Examples are easier and harder, alike and otherwise in each arm;
    clustered ones come four an image, which is easier or harder as a whole.
    """
    scores = rng.normal(0, 12, (1, 1, EXAMPLES)) + rng.normal(0, 6, (arms, 1, EXAMPLES))
    scores = scores + rng.normal(0, 2, (1, seeds, 1)) + rng.normal(0, spread, (arms, seeds, 1))
    scores = scores + rng.normal(0, 12, (arms, seeds, EXAMPLES))
    scores[-1] += effect
    names, cluster = tuple(f"a{i}" for i in range(arms)), np.arange(EXAMPLES)
    if "clustered" in kind:
        cluster = cluster // 4
        images = EXAMPLES // 4
        shared = rng.normal(0, 10, (1, 1, images)) + rng.normal(0, 6, (arms, 1, images))
        scores = scores + shared[:, :, cluster]
    if "binary" in kind:
        scores = (scores > -6).astype(float)
    return build_cube(scores, cluster, names, tuple(range(seeds)))


def covered(
    kind: str, arms: int, seeds: int, spread: float, pooled: bool, replicates: int, weights: Mapping[str, float] = PAIR
) -> float:
    rng = np.random.default_rng([arms, seeds, int(10 * spread), KINDS.index(kind)])
    hits = 0
    for _ in range(replicates):
        found = contrast(simulate(rng, kind, arms, seeds, spread), weights, pooled)
        hits += found.low <= 0 <= found.high
    return hits / replicates


def error(share: float, replicates: int) -> float:
    """Three Monte-Carlo standard errors."""
    return 3 * math.sqrt(share * (1 - share) / replicates)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_coverage_in_short(kind: str, seeds: int) -> None:
    pooled = covered(kind, 12, seeds, 1.0, True, 200)
    assert 0.93 - error(0.95, 200) <= pooled <= 0.97 + error(0.95, 200)
    assert covered(kind, 2, seeds, 1.0, False, 200) >= 0.90 - error(0.95, 200)


@pytest.mark.parametrize("weights", [MAIN, INTERACTION], ids=["main", "interaction"])
@pytest.mark.parametrize(("kind", "seeds"), [("clustered binary", 2), ("gauss", 3)])
def test_coverage_of_main_effects_and_interactions_in_short(kind: str, seeds: int, weights: dict[str, float]) -> None:
    pooled = covered(kind, 12, seeds, 1.0, True, 200, weights)
    assert 0.93 - error(0.95, 200) <= pooled <= 0.97 + error(0.95, 200)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [MAIN, INTERACTION], ids=["main", "interaction"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_coverage_of_main_effects_and_interactions_at_length(
    kind: str, seeds: int, spread: float, weights: dict[str, float]
) -> None:
    margin = error(0.95, 2000)
    pooled = covered(kind, 12, seeds, spread, True, 2000, weights)
    assert pooled >= 0.93 - margin
    assert pooled <= 0.97 + margin or seeds == 2
    assert covered(kind, 8, seeds, spread, False, 2000, weights) >= 0.90 - margin


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_coverage_at_length(kind: str, seeds: int, spread: float) -> None:
    margin = error(0.95, 2000)
    for arms in (5, 12):
        pooled = covered(kind, arms, seeds, spread, True, 2000)
        assert pooled >= 0.93 - margin
        assert pooled <= 0.97 + margin or seeds == 2
    assert covered(kind, 2, seeds, spread, False, 2000) >= 0.90 - margin


def findings(cube: Cube) -> list[bool]:
    """For each arm against the default, whether the report would call it."""
    arms = {arm: {} for arm in cube.arms}
    study = Study("null", "", "arms", {}, arms, cube.arms[0], "task/score", cube.arms[1:], None, cube.seeds)
    return [e.contrast.significant for e in correct(arm_effects(study, MEASURE, cube, spread_of(cube)), "holm")]


def family_wise_error(kind: str, seeds: int, spread: float, replicates: int) -> float:
    rng = np.random.default_rng([7, seeds, int(10 * spread), KINDS.index(kind)])
    return sum(any(findings(simulate(rng, kind, 13, seeds, spread))) for _ in range(replicates)) / replicates


@pytest.mark.parametrize("kind", KINDS)
def test_family_wise_error_over_twelve_null_arms_in_short(kind: str) -> None:
    assert family_wise_error(kind, 3, 1.0, 150) <= 0.05 + error(0.05, 150)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_family_wise_error_at_length(kind: str, seeds: int, spread: float) -> None:
    assert family_wise_error(kind, seeds, spread, 2000) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


def powers(kind: str, seeds: int, spread: float, effect: float, replicates: int) -> tuple[float, float, float]:
    """Power of the crossed contrast, power of the paired t test over seeds, and that test's size."""
    ours = theirs = size = 0
    for shift in (effect, 0.0):
        rng = np.random.default_rng([9, seeds, int(10 * spread), KINDS.index(kind)])
        for _ in range(replicates):
            cube = simulate(rng, kind, 5, seeds, spread, shift)
            seed_p = stats.ttest_rel(cube.means_AS[-1], cube.means_AS[0]).pvalue
            if shift:
                ours += contrast(cube, {cube.arms[-1]: 1, cube.arms[0]: -1}).p < 0.05
                theirs += seed_p < 0.05
            else:
                size += seed_p < 0.05
    return ours / replicates, theirs / replicates, size / replicates


@pytest.mark.parametrize("kind", ["gauss", "binary"])
def test_power_is_no_worse_than_the_seeds_only_test_in_short(kind: str) -> None:
    ours, theirs, _ = powers(kind, 3, 3.0, 10.0, 200)
    assert ours >= theirs - error(0.5, 200)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_power_is_no_worse_than_the_seeds_only_test_where_that_holds_its_size(
    kind: str, seeds: int, spread: float
) -> None:
    ours, theirs, size = powers(kind, seeds, spread, 6.0, 2000)
    if size <= 0.05 + error(0.05, 2000):
        assert ours >= theirs - error(0.5, 2000)
