"""Answers, features and codes: small cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evals.metrics.codes import correlate, count_codes
from evals.metrics.feature import mean_cosine, rank_of_truth, similarity
from evals.metrics.vqa import balanced_accuracy, is_right, majority_accuracy, normalise_answer


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        (" The Red  circle. ", "red circle"),
        ("A", "a"),
        ("yes!", "yes"),
        ("people & body", "people & body"),
        ("", ""),
    ],
)
def test_answers_are_normalised(answer: str, normal: str) -> None:
    assert normalise_answer(answer) == normal


def test_any_accepted_answer_is_right_and_nothing_near_it_is() -> None:
    assert is_right("Left", ("left", "to the left"))
    assert is_right("to left", ("left", "to the left"))
    assert not is_right("lef", ("left",))
    assert not is_right("", ("left",))


def test_floors() -> None:
    kinds = ["colour"] * 4 + ["count"] * 2
    assert majority_accuracy(kinds, ["red", "red", "Red", "blue", "1", "2"]) == pytest.approx(4 / 6)
    # Always "no": right on 3 of 4, but on one of the two answers only.
    assert balanced_accuracy([1, 1, 1, 0], ["no", "no", "no", "yes"]) == 0.5


def test_the_real_image_ranks_first_for_its_own_features() -> None:
    real = np.random.default_rng(0).normal(size=(20, 4, 8)) + 3
    ranks = rank_of_truth(similarity(real, real), np.arange(20))
    assert (ranks == 1).all()
    np.testing.assert_allclose(mean_cosine(real, real), 1)


def test_drawing_always_the_same_ranks_at_chance() -> None:
    real = np.random.default_rng(0).normal(size=(21, 4, 8))
    same = np.repeat(real[:1], 21, axis=0)
    assert rank_of_truth(similarity(same, real), np.arange(21)).mean() == pytest.approx(11)
    nothing = np.broadcast_to(real.mean(axis=0), real.shape)  # the mean itself: equally far from all
    assert (rank_of_truth(similarity(nothing, real), np.arange(21)) == 11).all()


def test_codes_are_counted_by_how_evenly_they_are_used() -> None:
    assert count_codes([np.array([1, 2]), np.array([3, 4])]) == (4, pytest.approx(4))
    used, perplexity = count_codes([np.array([1] * 99), np.array([2])])
    assert used == 2
    assert perplexity < 1.1
    assert count_codes([]) == (0, 0.0)


def test_a_constant_has_no_correlation() -> None:
    assert correlate(np.array([1, 2, 3]), np.array([2, 4, 6])) == pytest.approx(1)
    assert correlate(np.array([2, 2, 2]), np.array([1, 2, 3])) is None
