"""A measure and its scores: what is measured, and an array of it over arm x seed x cluster.

Shape letters: A arms, S seeds, E examples, C clusters (images).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Measure:
    """What is compared: `caption/CIDEr`, its part or slice, on one split, under one control.

    `name` is the record's metric, or the key of a part in `aux` when `part` is true. `form` says what it is of the
    examples: `""` the mean of their scores, `corpus` a function of sums over them (`reports.corpus`), `set` a run's
    metric that no record holds a share of (`reports.sets`); such a measure has no split.
    """

    benchmark: str
    name: str
    split: str
    control: str = ""
    kind: str = ""
    part: bool = False
    form: str = ""

    @property
    def label(self) -> str:
        """`vqa/accuracy.colour@shuffled`."""
        kind = f".{self.kind}" if self.kind else ""
        return f"{self.benchmark}/{self.name}{kind}" + (f"@{self.control}" if self.control else "")


@dataclass(frozen=True)
class Cube:
    """Scores of one measure; a run that has none is a row of NaN.

    `values_ASC` holds, per cluster, the pseudo-value m + u (y - m): m the run's mean over examples, y the
    mean within the cluster and u the cluster's size over the mean size. Its mean over clusters is exactly the
    run's mean over examples, and its spread over clusters is the clustered one (with equal clusters it is
    simply y): the usual linearisation of a ratio, equal to cluster-robust least squares.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    values_ASC: np.ndarray
    examples: int

    @cached_property
    def means_AS(self) -> np.ndarray:
        """Mean over examples of each run; NaN where there is no run."""
        return self.values_ASC.mean(axis=2)

    @cached_property
    def originals(self) -> np.ndarray:
        """For each arm the place of the first arm with the very same scores.

        Arms that share a stage share the runs that are measured after it: copies, and no further evidence.
        """
        found = np.arange(len(self.arms))
        seen: dict[bytes, list[int]] = {}
        for i, means_S in enumerate(self.means_AS):
            alike = seen.setdefault(means_S.tobytes(), [])
            same = (j for j in alike if np.array_equal(self.values_ASC[i], self.values_ASC[j], equal_nan=True))
            found[i] = next(same, i)
            if found[i] == i:
                alike.append(i)
        return found

    @property
    def clusters(self) -> int:
        """Number of independent clusters of examples."""
        return int(self.values_ASC.shape[2])

    def run_means(self, arm: str) -> dict[int, float]:
        """Seed -> mean of the arm's run; only the runs that exist."""
        if arm not in self.arms:
            return {}
        row = self.means_AS[self.arms.index(arm)]
        return {seed: float(value) for seed, value in zip(self.seeds, row, strict=True) if np.isfinite(value)}

    def minus(self, other: Cube) -> Cube | None:
        """This cube less another over the same arms, seeds and clusters; None where they are not paired."""
        if (self.arms, self.seeds, self.clusters) != (other.arms, other.seeds, other.clusters):
            return None
        return Cube(self.arms, self.seeds, self.values_ASC - other.values_ASC, self.examples)


def build_cube(scores_ASE: np.ndarray, cluster_E: np.ndarray, arms: tuple[str, ...], seeds: tuple[int, ...]) -> Cube:
    """Average within clusters; see `Cube` for what is kept."""
    examples = scores_ASE.shape[2]
    order = np.argsort(cluster_E, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(cluster_E[order]) != 0]) if examples else np.array([], int)
    if len(starts) == examples:
        return Cube(arms, seeds, scores_ASE[:, :, order], examples)
    sizes_C = np.diff(np.r_[starts, examples])
    means_ASC = np.add.reduceat(scores_ASE[:, :, order], starts, axis=2) / sizes_C
    overall_AS1 = scores_ASE.mean(axis=2, keepdims=True)
    share_C = sizes_C / sizes_C.mean()
    return Cube(arms, seeds, overall_AS1 + share_C * (means_ASC - overall_AS1), examples)
