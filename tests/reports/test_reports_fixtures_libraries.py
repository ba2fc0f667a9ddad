"""What the installed scipy and statsmodels say of the answers that reports do not compute themselves.

A library that changes an answer is found here before it is called anywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ADJUSTED = {"hochberg": "simes-hochberg", "BH": "fdr_bh", "BY": "fdr_by", "holm_sidak": "holm-sidak"}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def test_adjusted_p_values(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "p_adjust")["cases"]:
        for name, known in case["adjusted"].items():
            if name == "holm_reject_0.05":
                assert multipletests(case["p"], 0.05, "holm")[0].tolist() == known
            else:
                found = multipletests(case["p"], method=ADJUSTED.get(name, name))[1]
                assert found == pytest.approx(known, rel=1e-9), name


def test_mcnemar_by_chi_squared(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "mcnemar")["cases"]:
        table = case["table_[[both,a_only],[b_only,neither]]"]
        exact = mcnemar(table, exact=True)
        assert (exact.pvalue, exact.statistic) == pytest.approx((case["exact_p"], case["exact_statistic_min_bc"]))
        for name, correction in (("chi2", False), ("chi2_corrected", True)):
            if name in case:
                found = mcnemar(table, exact=False, correction=correction)
                assert (found.statistic, found.pvalue) == pytest.approx((case[name], case[f"{name}_p"])), case["id"]


@pytest.mark.parametrize("zeros", ["wilcox", "pratt", "zsplit"])
def test_wilcoxon(statistics_fixtures: Path, zeros: str) -> None:
    for case in read(statistics_fixtures, "wilcoxon_signed_rank")["cases"]:
        differences = np.round(np.array(case["x"]) - np.array(case["y"]), 12)
        for correction in (False, True):
            found = stats.wilcoxon(differences, zero_method=zeros, correction=correction, method="asymptotic")
            known = case["expected"][f"approx_{zeros}_{'corr' if correction else 'nocorr'}"]
            assert (found.statistic, found.pvalue) == pytest.approx((known["W"], known["p"]), rel=1e-9), case["id"]
            if zeros == "wilcox":
                assert found.pvalue == pytest.approx(case["R_p_corr" if correction else "R_p_nocorr"], rel=1e-9)
        for side in ("two-sided", "greater", "less"):
            known = case["expected"].get(f"exact_{side}")
            if known:
                found = stats.wilcoxon(differences, method="exact", alternative=side)
                assert (found.statistic, found.pvalue) == pytest.approx((known["W"], known["p"]), rel=1e-9)
        left = differences[differences != 0]
        ranks = stats.rankdata(np.abs(left))
        assert ranks[left > 0].sum() == pytest.approx(case["R_V_positive_rank_sum"])
        assert (ranks * np.sign(left)).sum() / ranks.sum() == pytest.approx(case["matched_rank_biserial"])


def test_sign_flips(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "sign_flip_permutation")["cases"]:
        sample = (np.array(case["differences"]),)
        for side, p in case["p"].items():
            found = stats.permutation_test(
                sample, np.mean, permutation_type="samples", alternative=side, n_resamples=np.inf
            )
            assert found.pvalue == pytest.approx(p, abs=1e-12), case["id"]


def test_proportions(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "other_tests")["proportion_ci"]:
        for name, known in case["ci95"].items():
            method = "beta" if name == "clopper_pearson" else name
            found = proportion_confint(case["k"], case["n"], method=method)
            assert tuple(found) == pytest.approx(tuple(known), abs=1e-9), name


def test_two_samples(statistics_fixtures: Path) -> None:
    for case in read(statistics_fixtures, "other_tests")["two_sample"]:
        a, b = np.array(case["a"]), np.array(case["b"])
        size, gap = len(a), a.mean() - b.mean()
        pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        greater = float((a[:, None] > b).mean())
        equal = float((a[:, None] == b).mean())
        known = (
            (stats.ttest_rel(a, b), "paired_t"),
            (stats.ttest_ind(a, b, equal_var=False), "welch_t"),
            (stats.ttest_ind(a, b), "student_t"),
            (stats.mannwhitneyu(a, b, method="exact"), "mannwhitney_exact"),
            (stats.shapiro(a - b), "shapiro_diff"),
            (stats.pearsonr(a, b), "pearson"),
        )
        for found, name in known:
            assert (found.statistic, found.pvalue) == pytest.approx(tuple(case[name]), rel=1e-7), name
        assert stats.spearmanr(a, b).statistic == pytest.approx(case["spearman"])
        assert stats.kendalltau(a, b).statistic == pytest.approx(case["kendall_tau_b"])
        assert gap / pooled == pytest.approx(case["cohen_d_pooled"])
        assert gap / pooled * (1 - 3 / (4 * 2 * size - 9)) == pytest.approx(case["hedges_g_approx_J"])
        assert (a - b).mean() / (a - b).std(ddof=1) == pytest.approx(case["cohen_dz_paired"])
        assert 2 * greater + equal - 1 == pytest.approx(case["cliffs_delta"])
        assert greater + equal / 2 == pytest.approx(case["prob_superiority_ties_half"])


def test_agreement(statistics_fixtures: Path) -> None:
    known = read(statistics_fixtures, "other_tests")
    cochran = cochrans_q(np.array(known["cochran_q"]["binary_rows_items_cols_systems"]))
    assert (cochran.statistic, cochran.pvalue, cochran.df) == pytest.approx(
        (known["cochran_q"]["Q"], known["cochran_q"]["p"], known["cochran_q"]["df"])
    )
    cohen, case = cohens_kappa(np.array(known["cohen_kappa"]["table"])), known["cohen_kappa"]
    assert (cohen.kappa, cohen.std_kappa) == pytest.approx((case["kappa"], case["std_kappa"]))
    assert (cohen.kappa_low, cohen.kappa_upp) == pytest.approx(tuple(case["ci95"]))


def test_aggregates_over_runs_and_tasks(statistics_fixtures: Path) -> None:
    """Median, interquartile mean, mean, optimality gap and probability of improvement (Agarwal et al. 2021)."""
    for case in read(statistics_fixtures, "rliable")["cases"]:
        scores = {name: np.array(rows) for name, rows in case["scores_runs_x_tasks"].items()}
        for name, own in scores.items():
            assert _aggregates(own) == pytest.approx(case["point_[median,iqm,mean,optimality_gap]"][name])
            rng = np.random.default_rng(0)
            runs, tasks = own.shape
            drawn = own[rng.integers(0, runs, (5000, runs, tasks)), np.arange(tasks)]
            ends = np.quantile([_aggregates(one) for one in drawn], [0.025, 0.975], axis=0)
            known = np.array(case["stratified_bootstrap_95_percentile"][name])
            spread = 4 * case["stratified_bootstrap_95_percentile"]["max_spread_over_3_seeds"]
            assert ends == pytest.approx(known, abs=spread)
        a, b = scores["A"], scores["B"]
        better = [stats.mannwhitneyu(y, x).statistic / (len(x) * len(y)) for x, y in zip(a.T, b.T, strict=True)]
        assert better == pytest.approx(case["prob_improvement_per_task"])
        assert np.mean(better) == pytest.approx(case["probability_of_improvement_B_over_A"])
        levels = np.array(case["tau"])
        assert (a[..., None] > levels).mean(axis=(0, 1)) == pytest.approx(case["run_score_distribution_A"])
        average = (a.mean(axis=0)[:, None] > levels).mean(axis=0)
        assert average == pytest.approx(case["average_score_distribution_A"])


def _aggregates(scores_RT: np.ndarray) -> list[float]:
    gap = 1.0 - np.minimum(scores_RT, 1.0).mean()
    middle = stats.trim_mean(scores_RT, 0.25, axis=None)
    return [float(np.median(scores_RT.mean(axis=0))), float(middle), float(scores_RT.mean()), float(gap)]
