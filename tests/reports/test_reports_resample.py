"""Corpus metrics: pseudo-values and two-way bootstrap against closed forms, simulation and others' answers; McNemar."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.contrast import contrast
from reports.discordance import discordances, mcnemar
from reports.measure import Cube
from reports.resample import corpus_bleu, pseudo_cube, pseudo_values, ratio_of_sums, two_way_bootstrap


def cube_of(values: np.ndarray) -> Cube:
    return Cube(tuple(f"a{i}" for i in range(len(values))), tuple(range(values.shape[1])), values, values.shape[2])


def test_pseudo_values_of_a_mean_are_the_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 3, 20))
    sums = np.stack([scores, np.ones_like(scores)], axis=-1)
    assert pseudo_values(sums, ratio_of_sums) == pytest.approx(scores)


def test_interval_of_a_ratio_of_sums_covers() -> None:
    rng = np.random.default_rng(1)
    hits, truth = 0, 0.5
    for _ in range(300):
        size = rng.poisson(6, (1, 1, 80)) + 1.0
        luck = rng.normal(0, 0.02, (4, 3, 1))
        matched = size * (truth + luck + rng.normal(0, 0.1, (1, 1, 80)) + rng.normal(0, 0.1, (4, 3, 80)))
        sums = np.stack([matched, np.broadcast_to(size, matched.shape)], axis=-1)
        cube = pseudo_cube(cube_of(matched), sums, ratio_of_sums)
        found = contrast(cube, {"a1": 1, "a0": -1})
        hits += found.low <= 0 <= found.high
    assert 0.93 - 0.038 <= hits / 300 <= 0.97 + 0.03


def test_bootstrap_and_pseudo_values_agree_where_examples_are_all_that_varies() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(4, 12, 150).astype(float)
    good = np.stack([rng.binomial(counts.astype(int), share) for share in (0.7, 0.5)]).astype(float)
    sums = np.stack([good, np.broadcast_to(counts, good.shape)], axis=-1)[:, None]
    estimate, low, high = two_way_bootstrap(sums, ratio_of_sums, {0: 1.0, 1: -1.0}, replicates=3000)
    found = contrast(pseudo_cube(cube_of(good[:, None]), sums, ratio_of_sums), {"a0": 1, "a1": -1})
    assert found.estimate == pytest.approx(estimate, abs=2e-3)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-3)


def test_missing_runs_stay_missing() -> None:
    sums = np.random.default_rng(3).random((2, 2, 5, 2))
    sums[1, 0] = np.nan
    values = pseudo_values(sums, ratio_of_sums)
    assert np.isnan(values[1, 0]).all()
    assert np.isfinite(values[0]).all()
    with pytest.raises(ValueError, match="1 cluster"):
        pseudo_values(sums[:, :, :1], ratio_of_sums)


def test_corpus_bleu_of_counts_is_sacrebleus(statistics_fixtures: Path) -> None:
    known = json.loads((statistics_fixtures / "sacrebleu_paired.json").read_text())["corpus"]
    for system in known.values():
        written = system["sys_len"]
        # Precisions are percentages of n-grams; every caption is one n-gram shorter for each order.
        images = 300
        ngrams = np.array([written - n * images for n in range(4)], float)
        matched = np.array(system["precisions"]) / 100 * ngrams
        sums = np.concatenate([matched, ngrams, [written, system["ref_len"]]])
        assert 100 * corpus_bleu(sums) == pytest.approx(system["bleu"], rel=2e-3)


def test_no_match_of_some_order_is_zero() -> None:
    assert corpus_bleu(np.array([3, 1, 0, 0, 4, 3, 2, 1, 4, 4.0])) == 0


def test_mcnemar_agrees_with_statsmodels_and_r(statistics_fixtures: Path) -> None:
    for case in json.loads((statistics_fixtures / "mcnemar.json").read_text())["cases"]:
        (_, b), (c, _) = case["table_[[both,a_only],[b_only,neither]]"]
        exact, mid = mcnemar(b, c)
        assert exact == pytest.approx(case["exact_p"], rel=1e-9), case["id"]
        if "mid_p" in case:
            assert mid == pytest.approx(case["mid_p"], rel=1e-9), case["id"]


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_a_probability(b: int, c: int) -> None:
    assert mcnemar(b, c) == pytest.approx(mcnemar(c, b))
    exact, mid = mcnemar(b, c)
    assert 0 <= mid <= exact <= 1


def test_discordance_counts_each_seed_and_leaves_out_what_it_is_not_for() -> None:
    values = np.zeros((2, 2, 4))
    values[1, 0] = [1, 1, 1, 0]
    values[0, 1, 0] = 1
    first, second = discordances(cube_of(values), "a1", "a0")
    assert (first.wins, first.losses, first.p) == (3, 0, 0.25)
    assert (second.wins, second.losses) == (0, 1)
    assert discordances(cube_of(values * 0.5), "a1", "a0") == []
    clustered = Cube(("a0", "a1"), (0, 1), values, 8)
    assert discordances(clustered, "a1", "a0") == []


def test_paired_tests_of_scipy_are_the_fixtures(statistics_fixtures: Path) -> None:
    for case in json.loads((statistics_fixtures / "sign_flip_permutation.json").read_text())["cases"]:
        for side, p in case["p"].items():
            found = stats.permutation_test(
                (np.array(case["differences"]),), np.mean, permutation_type="samples", alternative=side,
                n_resamples=np.inf,
            )  # fmt: skip
            assert found.pvalue == pytest.approx(p, abs=1e-12), case["id"]


def test_one_seed_contrast_is_the_t_interval_of_real_scores(statistics_fixtures: Path) -> None:
    """The fixtures' real score lists: with one seed, the crossed interval is the paired t interval over examples."""
    cases = json.loads((statistics_fixtures / "paired_bootstrap.json").read_text())["cases"]
    real = [case for case in cases if case["id"].startswith("real_") and case.get("a")]
    assert real
    for case in real:
        scores = np.array([case["a"], case["b"]])[:, None, :]
        found = contrast(cube_of(scores), {"a0": 1, "a1": -1})
        assert found.estimate == pytest.approx(case["mean_diff"], abs=1e-12)
        assert (found.low, found.high) == pytest.approx(tuple(case["t_interval_95"]), abs=1e-9)
        _, low, high = two_way_bootstrap(
            np.stack([scores, np.ones_like(scores)], axis=-1), ratio_of_sums, {0: 1.0, 1: -1.0}, 4000
        )
        spread = case["bootstrap_95"]["percentile"]
        width = spread["ci"][1] - spread["ci"][0]
        assert (low, high) == pytest.approx(tuple(spread["ci"]), abs=0.05 * width)


def test_vqa_scores_of_two_answer_files(statistics_fixtures: Path) -> None:
    case = json.loads((statistics_fixtures / "paired_bootstrap.json").read_text())["cases"][-1]
    path = statistics_fixtures.parent / "vqa" / "vqav2_val_sub2500.expected.json.gz"
    expected = json.loads(gzip.decompress(path.read_bytes()))
    ids = sorted(map(int, expected["always_yes"]["official_per_question"]))
    systems = ("prior_per_question_type", "always_yes")
    scores = np.array([[expected[s]["official_per_question"][str(i)] / 100 for i in ids] for s in systems])
    found = contrast(cube_of(scores[:, None]), {"a0": 1, "a1": -1})
    assert (found.low, found.high) == pytest.approx(tuple(case["t_interval_95"]), abs=1e-9)
