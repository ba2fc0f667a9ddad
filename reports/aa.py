"""A/A: how often is a difference found between arms that are one and the same?

The seeds of one arm are split into three pseudo-arms of equal size, in every way: nine seeds in 280. Each of the three
is the default in turn, the other two are compared with it as a report would compare them: pooled, with Holm's
correction over the two. A share of 5 % with a finding is what the correction promises of independent studies.

The splits of nine runs are not independent: if two runs happen to lie far from the others, many splits show it. So the
share's own error is not that of 280 draws. `null_shares` makes whole nine-seed studies by simulation, with the spreads
that were measured, and tells how far their shares scatter around what they should be.

Shape letters: A pseudo-arms, S seeds, C clusters of examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.errors import LavitError
from reports.comparisons import arm_effects
from reports.cube import Cube, Measure
from reports.measure import Scores
from reports.spread import spread_of
from reports.study import Study
from reports.verdicts import holm

NAMES = ("A", "B", "C")
SIZES = {6: 15, 9: 280}  # seeds -> ways of splitting them
NULL = Measure("null", "score", "")
Split = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Shares:
    """Of all splits, the share with a finding: on each measure, and on any of them. Defaults are averaged over."""

    splits: int
    by_measure: dict[Measure, float]
    anywhere: float


def splits(count: int) -> Iterator[Split]:
    """Every way of splitting places 0 to ``count`` - 1 into three groups of one size, without regard to their order."""
    size, places = count // 3, range(count)
    for others in itertools.combinations(range(1, count), size - 1):
        first = (0, *others)
        rest = [place for place in places if place not in first]
        for more in itertools.combinations(rest[1:], size - 1):
            second = (rest[0], *more)
            yield first, second, tuple(place for place in rest if place not in second)


def findings(values_SC: np.ndarray, split: Split) -> list[bool]:
    """Whether a report finds any difference, with each pseudo-arm as the default in turn."""
    size = len(split[0])
    values_ASC = np.stack([values_SC[list(group)] for group in split])
    found = []
    for turn in range(3):
        order = [(turn + place) % 3 for place in range(3)]
        cube = Cube(NAMES, tuple(range(size)), values_ASC[order], values_SC.shape[1])
        arms: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        study = Study("aa", "", "arms", {}, arms, NAMES[0], "null/score", NAMES[1:], None, cube.seeds)
        p = np.array([e.contrast.p for e in arm_effects(study, NULL, cube, spread_of(cube)) if e.contrast.known])
        found.append(bool(len(p)) and bool((holm(p) < 0.05).any()))
    return found


def aa_shares(scores: Scores, arm: str | None = None) -> Shares:
    """Split the seeds of one arm in every way, on every benchmark's own score.

    Args:
        scores: of a study.
        arm: whose seeds; the default's, if None.

    Raises:
        LavitError: the arm has neither six nor nine seeds.
    """
    arm = arm or scores.frame.study.default
    runs = {measure: seed_rows(scores, measure, arm) for measure in scores.primary}
    found = {
        m: np.array([findings(values_SC, split) for split in splits(len(values_SC))]) for m, values_SC in runs.items()
    }
    together = np.any(list(found.values()), axis=0)
    shares = {measure: float(hits.mean()) for measure, hits in found.items()}
    return Shares(len(together), shares, float(together.mean()))


def seed_rows(scores: Scores, measure: Measure, arm: str) -> np.ndarray:
    """[S, C]: the scores of an arm's finished seeds."""
    cube = scores.cube(measure)
    if cube is None or arm not in cube.arms:
        raise LavitError(f"there is no arm '{arm}' with scores of {measure.label}", "name one of the study's arms")
    values_SC = cube.values_ASC[cube.arms.index(arm)]
    values_SC = values_SC[np.isfinite(values_SC).all(axis=1)]
    if len(values_SC) not in SIZES:
        raise LavitError(
            f"the arm '{arm}' has {len(values_SC)} seeds with scores of {measure.label}",
            "an A/A study splits nine seeds (or six) into three pseudo-arms: study.seeds=9",
        )
    return values_SC


def null_shares(values_SC: np.ndarray, studies: int, seed: int = 0) -> np.ndarray:
    """The shares of simulated studies with the spreads of a real one: over seeds, over examples, and what is left.

    Args:
        values_SC: the scores of an arm's seeds.
        studies: how many to simulate.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    seeds, clusters = values_SC.shape
    run_S, example_C = values_SC.mean(axis=1), values_SC.mean(axis=0)
    left_SC = values_SC - run_S[:, None] - example_C + values_SC.mean()
    left = np.sqrt((left_SC**2).sum() / max((seeds - 1) * (clusters - 1), 1))
    luck = np.sqrt(max(run_S.var(ddof=1) - left**2 / clusters, 0.0))
    found = np.empty(studies)
    for place in range(studies):
        made_SC = (
            rng.choice(example_C, clusters)
            + luck * rng.normal(size=(seeds, 1))
            + left * rng.normal(size=(seeds, clusters))
        )
        found[place] = np.mean([findings(made_SC, split) for split in splits(seeds)])
    return found
