"""Numbers of a whole set (FID, KID, codes used, perplexity): one a run, so that only seeds tell how far they spread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reports.contrast import Contrast
from reports.cube import Cube, Measure
from reports.effects import Effect
from reports.frame import Frame

CONSTANT = "it is the same in every seed, which share what it measures: nothing tells how far it would spread"


def set_cube(frame: Frame, label: str) -> Cube | None:
    """A run metric as scores of one "cluster" and no example; None where no run has it."""
    rows = frame.metrics[frame.metrics["name"] == label]
    arms, seeds = tuple(frame.arms), tuple(frame.seeds)
    values_AS1 = np.full((len(arms), len(seeds), 1), np.nan)
    for row in rows.itertuples(index=False):
        values_AS1[arms.index(row.arm), seeds.index(row.seed), 0] = row.value
    return Cube(arms, seeds, values_AS1, 0) if np.isfinite(values_AS1).any() else None


def explained(effect: Effect, cube: Cube, frame: Frame, arms: list[str]) -> Effect:
    """The comparison of a set statistic, without an interval where there is none to be had.

    Args:
        effect: as the estimator made it.
        cube: its measure's numbers.
        frame: the study's results; a run metric `n/BENCHMARK` tells how large the set was.
        arms: those that are weighed.
    """
    c = effect.contrast
    sizes = _sizes(frame, effect.measure, arms)
    if len(sizes) > 1:
        listed = " and ".join(f"{size:,.0f}" for size in sorted(sizes))
        why = f"made of {listed} images, and its bias depends on how many"
        return replace(effect, contrast=Contrast(n_seeds=c.n_seeds, reason=why))
    rows = [cube.means_AS[cube.arms.index(arm)] for arm in arms]
    if c.known and all(np.ptp(row[np.isfinite(row)]) == 0 for row in rows):
        kept = Contrast(estimate=c.estimate, n_seeds=c.n_seeds, reason=CONSTANT)
        return replace(effect, contrast=kept)
    return effect


def _sizes(frame: Frame, measure: Measure, arms: list[str]) -> set[float]:
    rows = frame.metrics[(frame.metrics["name"] == f"n/{measure.benchmark}") & frame.metrics["arm"].isin(arms)]
    return {float(value) for value in rows["value"]}
