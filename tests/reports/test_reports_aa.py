"""A/A: every split is made once, nothing is found where nothing is, and a difference between seeds is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import write_study

from experiments.errors import LavitError
from reports.aa import SIZES, aa_shares, findings, null_shares, splits
from reports.frame import load
from reports.measure import Scores


@pytest.mark.parametrize(("seeds", "ways"), SIZES.items())
def test_every_split_is_made_once(seeds: int, ways: int) -> None:
    found = list(splits(seeds))
    assert len(found) == ways == math.factorial(seeds) // math.factorial(seeds // 3) ** 3 // 6
    assert len({frozenset(map(frozenset, split)) for split in found}) == ways
    assert all(sorted(sum(split, ())) == list(range(seeds)) for split in found)


def test_groups_of_seeds_that_differ_are_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 50) + np.repeat([0.0, 0.0, 3.0], 3)[:, None] + rng.normal(0, 0.1, (9, 1))
    values = values + rng.normal(0, 0.5, (9, 50))
    assert findings(values, ((0, 1, 2), (3, 4, 5), (6, 7, 8))) == [True, True, True]


def test_shares_of_a_study_without_a_difference(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "aa", arms={"default": {}}, seeds=tuple(range(6)), images=12, pictures=0)
    scores = Scores(load(folder))
    shares = aa_shares(scores)
    assert shares.splits == 15
    assert set(shares.by_measure) == set(scores.primary)
    assert max(shares.by_measure.values()) <= shares.anywhere <= sum(shares.by_measure.values())
    with pytest.raises(LavitError, match="has 2 seeds"):
        aa_shares(Scores(load(write_study(tmp_path / "two", arms={"default": {}}, seeds=(0, 1), images=4, pictures=0))))


def test_null_studies_find_as_much_as_they_should() -> None:
    """Six-seed studies: their shares scatter far more than independent splits would, around no more than 5 %."""
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, 40) + rng.normal(0, 0.3, (6, 1)) + rng.normal(0, 0.5, (6, 40))
    shares = null_shares(values, 40)
    error = shares.std(ddof=1) / math.sqrt(len(shares))
    assert shares.mean() <= 0.05 + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.3, 1.0])
def test_nine_seeds_find_in_five_percent_of_the_splits(luck: float) -> None:
    rng = np.random.default_rng([4, int(10 * luck)])
    values = rng.normal(0, 1, 60) + rng.normal(0, luck, (9, 1)) + rng.normal(0, 0.5, (9, 60))
    shares = null_shares(values, 120, seed=1)
    assert shares.mean() <= 0.05 + 2 * shares.std(ddof=1) / math.sqrt(len(shares))
