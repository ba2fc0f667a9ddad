"""The estimator: against closed forms, statsmodels and known answers, and its coverage by simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from reports.comparisons import matched_pairs
from reports.contrast import contrast, detectable_in_se, half_width, seed_variance
from reports.measure import Cube, build_cube
from reports.spread import spread_ratio
from reports.study import Study


def cube_of(values: np.ndarray) -> Cube:
    """A cube with one example a cluster."""
    arms = tuple(f"a{i}" for i in range(values.shape[0]))
    return Cube(arms, tuple(range(values.shape[1])), values, values.shape[2])


def simulate(
    rng: np.random.Generator, arms: int, seeds: int, examples: int, spread: float, kind: str = "gauss"
) -> np.ndarray:
    """Scores without any true difference between arms: crossed seed, example and residual parts."""
    base = rng.normal(0, 12, (1, 1, examples)) + rng.normal(0, 6, (arms, 1, examples))
    luck = rng.normal(0, 2, (1, seeds, 1)) + rng.normal(0, spread, (arms, seeds, 1))
    scores = base + luck + rng.normal(0, 12, (arms, seeds, examples))
    return scores if kind == "gauss" else (scores > -6).astype(float)


def coverage(arms: int, seeds: int, spread: float, pooled: bool, kind: str, replicates: int) -> float:
    rng = np.random.default_rng([arms, seeds, int(10 * spread), replicates])
    hits = 0
    for _ in range(replicates):
        found = contrast(cube_of(simulate(rng, arms, seeds, 150, spread, kind)), {"a1": 1, "a0": -1}, pooled)
        hits += found.low <= 0 <= found.high
    return hits / replicates


REPLICATES = 400
ERROR = 3 * math.sqrt(0.95 * 0.05 / REPLICATES)


@pytest.mark.parametrize("kind", ["gauss", "binary"])
@pytest.mark.parametrize(("arms", "spread"), [(5, 0.0), (5, 3.0), (12, 1.0)])
def test_pooled_interval_covers_its_nominal_level(arms: int, spread: float, kind: str) -> None:
    found = coverage(arms, 3, spread, pooled=True, kind=kind, replicates=REPLICATES)
    assert 0.93 - ERROR <= found <= 0.97 + ERROR


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_unpooled_interval_covers_at_least_ninety_percent(spread: float) -> None:
    assert coverage(2, 3, spread, pooled=False, kind="gauss", replicates=REPLICATES) >= 0.90 - ERROR


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gauss", "binary"])
@pytest.mark.parametrize("arms", [5, 12])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_coverage_at_length(arms: int, seeds: int, spread: float, kind: str) -> None:
    error = 3 * math.sqrt(0.95 * 0.05 / 2000)
    assert 0.93 - error <= coverage(arms, seeds, spread, True, kind, 2000) <= 0.97 + error
    assert coverage(arms, seeds, spread, False, kind, 2000) >= 0.90 - error


def test_without_examples_it_is_the_paired_t_test(statistics_fixtures: Path) -> None:
    cases = json.loads((statistics_fixtures / "other_tests.json").read_text())["two_sample"]
    for case in cases:
        a, b = np.array(case["a"]), np.array(case["b"])
        if len(a) != len(b):
            continue
        found = contrast(cube_of(np.stack([a, b])[:, :, None]), {"a0": 1, "a1": -1})
        assert found.scope == "seeds"
        assert found.p == pytest.approx(case["paired_t"][1], abs=1e-9)


def test_main_effect_of_a_factorial_is_montgomerys(statistics_fixtures: Path) -> None:
    known = json.loads((statistics_fixtures / "factorial_effects.json").read_text())
    responses = known["standard_order_responses"]
    axes = dict.fromkeys("ABCD", ("low", "high"))
    arms = {f"run{i}": {name: axes[name][i >> bit & 1] for bit, name in enumerate("ABCD")} for i in range(16)}
    study = Study("m", "", "full", axes, arms, "run0", "x", (), None, (0,))
    for name in "ABCD":
        pairs = matched_pairs(study, name, "high")
        assert len(pairs) == 8
        effect = np.mean([responses[int(a[3:])] - responses[int(b[3:])] for a, b in pairs])
        assert effect == pytest.approx(known["full_2^4_effects"][name])


def test_holm_agrees_with_r(statistics_fixtures: Path) -> None:
    from statsmodels.stats.multitest import multipletests

    for case in json.loads((statistics_fixtures / "p_adjust.json").read_text())["cases"]:
        p, adjusted = case["p"], case["adjusted"]
        assert multipletests(p, method="holm")[1] == pytest.approx(adjusted["holm"])
        assert multipletests(p, method="fdr_bh")[1] == pytest.approx(adjusted["BH"])


@pytest.mark.slow  # importing statsmodels' regressions takes seconds
def test_one_seed_is_cluster_robust_least_squares() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 6, 40)
    cluster = np.repeat(np.arange(40), sizes)
    scores = rng.normal(0, 1, 40)[cluster] + rng.normal(0.3, 1, len(cluster))
    cube = build_cube(np.stack([scores, np.zeros_like(scores)])[:, None, :], cluster, ("a", "b"), (0,))
    found = contrast(cube, {"a": 1, "b": -1})
    robust = sm.OLS(scores, np.ones_like(scores)).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    assert found.estimate == pytest.approx(scores.mean())
    assert found.se == pytest.approx(robust.bse[0], rel=1e-9)
    assert found.scope == "this training run only"


def test_equal_clusters_are_averaged_first() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(2, 3, 30))
    cluster = np.repeat(np.arange(10), 3)
    averaged = cube_of(scores.reshape(2, 3, 10, 3).mean(axis=3))
    one = contrast(build_cube(scores, cluster, ("a0", "a1"), (0, 1, 2)), {"a1": 1, "a0": -1})
    other = contrast(averaged, {"a1": 1, "a0": -1})
    assert (one.estimate, one.se, one.df) == pytest.approx((other.estimate, other.se, other.df))
    assert one.n_examples == 30
    assert one.n_clusters == 10


def test_missing_runs_leave_the_pool_and_the_pair_uses_shared_seeds() -> None:
    values = simulate(np.random.default_rng(3), 4, 3, 50, 1.0)
    values[1, 2] = np.nan
    found = contrast(cube_of(values), {"a1": 1, "a0": -1})
    assert found.n_seeds == 2
    assert seed_variance(cube_of(values).means_AS)[1] == 5
    values[2] = np.nan
    assert contrast(cube_of(values), {"a2": 1, "a0": -1}).reason == "no finished run of a2"


def test_pooled_variance_is_the_two_way_residual() -> None:
    means = np.random.default_rng(4).normal(size=(5, 3))
    residual = means - means.mean(1, keepdims=True) - means.mean(0) + means.mean()
    variance, df = seed_variance(means)
    assert variance == pytest.approx((residual**2).sum() / 8)
    assert df == 8


def test_detectable_effects_use_their_own_degrees_of_freedom() -> None:
    scale = math.sqrt(2 / 3)
    assert detectable_in_se(2, 0.05) * scale == pytest.approx(4.6, abs=0.05)  # one pair, three seeds
    assert detectable_in_se(8, 0.05 / 4) * scale == pytest.approx(3.4, abs=0.05)  # one arm of five, Holm
    assert detectable_in_se(22, 0.05 / 11) * scale == pytest.approx(3.3, abs=0.05)  # one of twelve
    assert detectable_in_se(1e6, 0.05) == pytest.approx(1.96 + 0.8416, abs=1e-3)


def test_more_seeds_or_more_examples_narrow_their_own_part() -> None:
    found = contrast(cube_of(simulate(np.random.default_rng(5), 5, 3, 100, 3.0)), {"a1": 1, "a0": -1})
    now = found.high - found.estimate
    assert half_width(found, 3) == pytest.approx(now, rel=0.15)
    assert half_width(found, 12) < half_width(found, 6) < now
    assert half_width(found, 3, clusters_factor=100) >= math.sqrt(found.variance_seed)


def test_an_unlike_arm_is_found_among_like_ones() -> None:
    means = np.random.default_rng(6).normal(size=(6, 8))
    means[2] *= 12
    ratios = [spread_ratio(means, i) for i in range(6)]
    assert max(ratios) == ratios[2] > 2.5
    assert math.isnan(spread_ratio(means[:2], 0))


def test_no_difference_at_all_has_p_one() -> None:
    found = contrast(cube_of(np.ones((3, 3, 20))), {"a1": 1, "a0": -1})
    assert (found.estimate, found.se, found.p) == (0, 0, 1)


def test_arms_that_share_their_runs_are_no_further_evidence() -> None:
    """A tokenizer that six arms share was trained once a seed: its effect is as sure as with one arm a side."""
    rng = np.random.default_rng(3)
    one = simulate(rng, 3, 4, 60, 2.0)
    copied = one[[0, 0, 0, 1, 1, 1, 2]]
    weights = {**dict.fromkeys(("a0", "a1", "a2"), -1 / 3), **dict.fromkeys(("a3", "a4", "a5"), 1 / 3)}
    alone = contrast(cube_of(one), {"a0": -1, "a1": 1})
    shared = contrast(cube_of(copied), weights)
    for name in ("estimate", "low", "high", "df", "p"):
        assert getattr(shared, name) == pytest.approx(getattr(alone, name), rel=1e-9)
    apart = contrast(cube_of(copied + rng.normal(0, 1e-6, copied.shape)), weights)
    assert apart.high - apart.low < 0.8 * (shared.high - shared.low)
