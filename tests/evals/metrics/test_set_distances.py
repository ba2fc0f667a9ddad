"""Fréchet distance, KID, CMMD, CLIPScore: against references, and what must hold of them whatever the features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.errors import EvaluationError
from evals.metrics.clipscore import clip_score, greatest_reference_cosine, ref_clip_score
from evals.metrics.cmmd import clip_mmd
from evals.metrics.frechet import frechet_distance, frechet_of_features
from evals.metrics.gaussians import from_features, from_statistics
from evals.metrics.kid import kernel_distance, kernel_distance_of_subsets


def near(value: float, reference: float) -> bool:
    return abs(value - reference) <= 1e-6 * max(1.0, abs(reference))


def test_frechet_cases_to_a_millionth_from_statistics_and_from_features(shared_fixtures) -> None:
    cases = json.loads((shared_fixtures / "t2i/fid_kid_expected.json").read_text())["fid"]
    arrays = np.load(shared_fixtures / "t2i/fid_cases.npz")
    assert len(cases) == 21
    for case in cases:
        part = {key.split("/")[1]: arrays[key] for key in arrays.files if key.startswith(f"{case['name']}/")}
        given = [from_statistics(part[f"mu{side}"], part[f"sigma{side}"]) for side in (1, 2)]
        assert near(frechet_distance(*given), case["reference"]), case["name"]
        if "x" in part:
            assert near(frechet_of_features(part["x"], part["y"]), case["reference"]), case["name"]


def test_kid_and_cmmd_cases(shared_fixtures) -> None:
    cases = json.loads((shared_fixtures / "t2i/fid_kid_expected.json").read_text())["kid"]
    arrays = np.load(shared_fixtures / "t2i/kid_cases.npz")
    for case in cases:
        x, y = arrays[f"{case['name']}/x"], arrays[f"{case['name']}/y"]
        assert near(clip_mmd(x, y), case["cmmd_sigma10_scale1000_biased"])
        found = kernel_distance(x, y)
        if "poly3_mmd2_unbiased" in case:
            assert near(found.unbiased, case["poly3_mmd2_unbiased"])
            assert near(found.biased, case["poly3_mmd2_biased"])
            assert found.u_statistic is not None and near(found.u_statistic, case["poly3_mmd2_u-statistic"])
            mean, spread = kernel_distance_of_subsets(x, y, 1, len(x), 3)
            assert near(mean, case["clean_fid_kid_single_full_subset"]) and spread == 0
        else:
            assert found.u_statistic is None


def test_clipscore_cases(shared_fixtures) -> None:
    expected = json.loads((shared_fixtures / "t2i/clipscore_expected.json").read_text())
    arrays = np.load(shared_fixtures / "t2i/clipscore_features.npz")
    score = clip_score(arrays["image"], arrays["candidate"])
    cosine = greatest_reference_cosine(arrays["candidate"], arrays["refs"], arrays["ref_index"])
    for found, name in ((score, "clipscore"), (cosine, "ref_max_cos"), (ref_clip_score(score, cosine), "refclipscore")):
        assert np.abs(found - expected[name]).max() <= 1e-6
    assert float(score.mean()) == expected["clipscore_mean"]


def features(seed: int, rows: int, width: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, width)) @ random.normal(size=(width, width)) + random.normal(size=width)


SETS = st.tuples(st.integers(0, 1000), st.integers(2, 12), st.integers(2, 12), st.integers(1, 8))


@settings(max_examples=40, deadline=None)
@given(SETS)
def test_frechet_is_symmetric_zero_on_itself_and_blind_to_rotation_and_shift(shape) -> None:
    seed, rows_a, rows_b, width = shape
    a, b = features(seed, rows_a, width), features(seed + 1, rows_b, width)
    value = frechet_of_features(a, b)
    assert value >= 0 and near(frechet_of_features(b, a), value)
    assert frechet_of_features(a, np.concatenate([a[1:], a[:1]])) < 1e-12
    turn, _ = np.linalg.qr(features(seed + 2, width, width))
    assert near(frechet_of_features(a @ turn + 7, b @ turn + 7), value)
    moved = a + np.arange(1, width + 1)
    assert near(frechet_of_features(a, moved), float((np.arange(1, width + 1) ** 2).sum()))
    statistics = [from_statistics(x.mean(0), np.atleast_2d(np.cov(x.T))) for x in (a, b)]
    assert near(frechet_distance(*statistics), value)


def test_frechet_of_few_images_does_not_drown_in_rounding() -> None:
    """300 directions of which each set knows 4: the square root of a singular product loses half of all digits."""
    random = np.random.default_rng(0)
    a, b = np.zeros((5, 300)), np.zeros((5, 300))
    a[:, :4], b[:, 4:8] = random.normal(size=(2, 5, 4)) * 1000
    exact = float(((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum())
    assert frechet_of_features(a, b) == pytest.approx(exact, rel=1e-13)


@settings(max_examples=25, deadline=None)
@given(SETS)
def test_kernel_distances_do_not_depend_on_order_and_the_biased_ones_are_not_negative(shape) -> None:
    seed, rows_a, rows_b, width = shape
    a, b = features(seed, rows_a, width), features(seed + 1, rows_b, width)
    forth, back = kernel_distance(a, b), kernel_distance(b[::-1], a)
    size = abs(forth.biased) + 1
    assert abs(forth.unbiased - back.unbiased) < 1e-9 * size * 100 and forth.biased > -1e-9
    assert clip_mmd(a, b) > -1e-9 and abs(clip_mmd(a, b) - clip_mmd(b + 3, a + 3)) < 1e-6


def test_unbiased_kid_of_one_distribution_is_zero_on_average() -> None:
    random = np.random.default_rng(5)
    values = [kernel_distance(*random.normal(size=(2, 40, 6))).unbiased for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def wrong(**change):
    table = np.ones((4, 3)) * np.arange(4)[:, None]
    for (row, column), value in change.get("put", {}).items():
        table[row, column] = value
    return change.get("as_", lambda x: x)(table)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (wrong(put={(2, 1): np.nan}), r"features\[2, 1\] is nan, and 0 more"),
        (wrong(put={(0, 0): np.inf, (3, 2): -np.inf}), r"features\[0, 0\] is inf, and 1 more"),
        (wrong(as_=lambda x: x[:1]), "has 1 rows; at least 2"),
        (wrong(as_=lambda x: x[0]), r"has shape \[3\], not \[N, D\]"),
        (wrong(as_=lambda x: x[None]), r"has shape \[1, 4, 3\]"),
        (wrong(as_=lambda x: x[:, :0]), r"has shape \[4, 0\]"),
        (wrong(as_=lambda x: x.astype(str)), "dtype <U"),
        (wrong(as_=lambda x: x.astype(complex)), "complex128"),
        (wrong(as_=lambda x: x > 1), "dtype bool"),
    ],
)
def test_features_that_no_distance_can_be_made_of_are_refused(table, complaint) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        from_features(table)


@pytest.mark.parametrize(
    ("mean", "covariance", "complaint"),
    [
        (np.zeros(3), np.eye(2), r"mu has shape \[3\] and sigma \[2, 2\]"),
        (np.zeros(2), np.array([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), "eigenvalue -1"),
        (np.array([0, np.nan]), np.eye(2), r"mu\[1\] is nan"),
    ],
)
def test_statistics_that_are_none_are_refused(mean, covariance, complaint) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        from_statistics(mean, covariance)


def test_other_widths_and_rows_without_direction_are_refused() -> None:
    for distance in (frechet_of_features, kernel_distance, clip_mmd):
        with pytest.raises(EvaluationError, match="A has 3 features, B has 2"):
            distance(np.eye(3), np.eye(2))
    with pytest.raises(EvaluationError, match=r"candidate\[1\] is all zeros"):
        clip_score(np.eye(2), np.array([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(EvaluationError, match="Candidate 1 has no reference"):
        greatest_reference_cosine(np.eye(2), np.eye(2), np.array([0, 0]))
    with pytest.raises(EvaluationError, match="outside 0 … 1"):
        greatest_reference_cosine(np.eye(2), np.eye(2), np.array([0, 2]))
    with pytest.raises(EvaluationError, match="the smaller set has 2 rows"):
        kernel_distance_of_subsets(np.eye(3), np.eye(3)[:2], 5, 3, 0)
