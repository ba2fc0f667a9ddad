"""Detectable effects: known answers, and the noncentral t held against scipy."""

from __future__ import annotations

import pytest
from scipy import stats

from experiments.power import ALPHA, smallest_effect, t_cdf, t_critical


@pytest.mark.parametrize(
    ("arms", "comparisons", "expected"),
    [(2, 1, 4.6), (5, 4, 3.4), (12, 11, 3.3)],
    ids=["a pair alone", "one arm of five, Holm", "one arm of twelve, Holm"],
)
def test_known_answers_at_three_seeds(arms: int, comparisons: int, expected: float) -> None:
    assert smallest_effect(2.0, arms, 3, ALPHA / comparisons) == pytest.approx(expected, abs=0.05)


def test_uncorrected_figures_use_the_estimators_own_degrees_of_freedom() -> None:
    # With seeds as blocks an arm of five has 8 degrees of freedom, one of twelve has 22.
    assert smallest_effect(2.0, 5, 3) == pytest.approx(2.61, abs=0.01)
    assert smallest_effect(2.0, 12, 3) == pytest.approx(2.39, abs=0.01)


@pytest.mark.parametrize("df", [1, 2, 4, 8, 22, 60, 400])
def test_the_noncentral_t_is_scipys(df: int) -> None:
    for t, delta in ((0.5, 0.0), (3.0, 2.0), (4.0, 5.5), (-1.0, 0.3)):
        assert t_cdf(t, df, delta) == pytest.approx(stats.nct.cdf(t, df, delta), abs=1e-6)
    assert t_critical(df, 0.05) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-4)


@pytest.mark.parametrize(("arms", "seeds", "alpha"), [(2, 3, 0.05), (5, 3, 0.0125), (12, 3, 0.05 / 11), (3, 2, 0.025)])
def test_the_effect_has_the_power_that_it_claims(arms: int, seeds: int, alpha: float) -> None:
    df, effect = (arms - 1) * (seeds - 1), smallest_effect(2.0, arms, seeds, alpha)
    assert effect is not None
    delta = effect / (2.0 / seeds) ** 0.5
    assert 1 - stats.nct.cdf(stats.t.ppf(1 - alpha / 2, df), df, delta) == pytest.approx(0.8, abs=1e-3)


def test_one_seed_says_nothing() -> None:
    assert smallest_effect(2.0, 5, 1) is None
    assert smallest_effect(2.0, 1, 5) is None


def test_more_seeds_arms_and_pairs_see_less() -> None:
    for worse, better in (((2.0, 5, 3), (2.0, 5, 5)), ((2.0, 5, 3), (2.0, 12, 3)), ((2.0, 5, 3), (0.5, 5, 3))):
        assert smallest_effect(*worse) > smallest_effect(*better)  # type: ignore[operator]
