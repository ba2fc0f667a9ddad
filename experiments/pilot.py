"""The spread between seeds that an earlier study had, so that a plan speaks in the headline's own units.

The estimate is the report's: residuals of the runs' means after arm and seed effects, (arms - 1)(seeds - 1) degrees of
freedom when nothing is missing (`reports.contrast.seed_variance`; a test holds the two against each other).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import LavitError, did_you_mean
from experiments.store import read_json


@dataclass(frozen=True)
class Pilot:
    """A between-seed SD and where it comes from."""

    study: str
    metric: str
    sd_seed: float
    df: int
    arms: int
    seeds: int

    @property
    def basis(self) -> str:
        """`pilot quickstart: SD 0.21 from 5 arms x 3 seeds, df 8`."""
        return f"pilot {self.study}: SD {self.sd_seed:.3g} from {self.arms} arms x {self.seeds} seeds, df {self.df}"


def read_pilot(runs_dir: Path, study: str, metric: str) -> Pilot:
    """Return the between-seed SD of a metric over the finished runs of a study.

    Args:
        runs_dir: the folder of all output.
        study: the name of an earlier study; its `runs.json` is read, which every run and report leaves.
        metric: `benchmark/metric`, in stored units.

    Raises:
        LavitError: there is no such study, it has no such metric, or too few runs to tell a spread.
    """
    folder = runs_dir / study
    body = read_json(folder / "runs.json")
    if not isinstance(body, dict) or not body.get("runs"):
        known = sorted(path.parent.name for path in runs_dir.glob("*/runs.json"))
        there = did_you_mean(study, known) if known else "no study has results there yet"
        raise LavitError(f"power.pilot: {study}: there are no results in {folder}", there)
    values: dict[tuple[str, int], float] = {}
    names: set[str] = set()
    for run in body["runs"]:
        metrics = run.get("metrics") or {}
        names |= set(metrics)
        if isinstance(metrics.get(metric), int | float):
            values[str(run["arm"]), int(run["seed"])] = float(metrics[metric])
    if not values:
        raise LavitError(f"power.pilot: {study}: no run has a {metric}", did_you_mean(metric, sorted(names)))
    variance, df = seed_variance(values)
    arms, seeds = len({arm for arm, _ in values}), len({seed for _, seed in values})
    if df < 1 or not variance > 0:
        raise LavitError(
            f"power.pilot: {study}: {len(values)} runs of {arms} arms and {seeds} seeds tell no spread of {metric}",
            "two arms with two seeds in common are the least that does",
        )
    return Pilot(study, metric, math.sqrt(variance), df, arms, seeds)


def seed_variance(values: dict[tuple[str, int], float]) -> tuple[float, int]:
    """(variance between seeds, its degrees of freedom) of runs' means by (arm, seed), additive in arm and seed."""
    import numpy as np

    arms, seeds = sorted({arm for arm, _ in values}), sorted({seed for _, seed in values})
    matrix = np.zeros((len(values), len(arms) + len(seeds)))
    for row, (arm, seed) in enumerate(values):
        matrix[row, arms.index(arm)] = matrix[row, len(arms) + seeds.index(seed)] = 1.0
    target = np.array(list(values.values()))
    fit, _, rank, _ = np.linalg.lstsq(matrix, target, rcond=None)
    df = len(values) - int(rank)
    if df < 1:
        return math.nan, 0
    variance = float(((target - matrix @ fit) ** 2).sum() / df)
    return (0.0 if variance < (1e-12 * float(np.abs(target).max())) ** 2 else variance), df
