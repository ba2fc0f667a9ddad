"""What a run cost, and what its score was at equal training FLOPs (read from its learning curve)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.cube import Cube
from reports.frame import Frame

TOLERANCE = 1e-6
TRAINING = ("pretrain", "tune", "cooldown")


def own_stages(frame: Frame) -> tuple[str, ...]:
    """The stages that train what an arm is, so that their cost is its own and not shared with every other.

    Pre-training, tuning and cool-down; where a study stops before them, the stage that it stops at.
    """
    recorded, until = set(frame.ledgers["stage"]), frame.study.until
    if until is None or until not in recorded or recorded.intersection(TRAINING):
        return TRAINING
    return (until,)


def cost(frame: Frame, item: str, stages: Sequence[str] = (), reduce: str = "sum") -> dict[str, dict[int, float]]:
    """Arm -> seed -> what a ledger item came to over the stages (all of them when none named was recorded).

    Args:
        frame: the study's results.
        item: a ledger entry: `flops`, `examples_understanding`, `params_trainable`, ...
        stages: the stages to count.
        reduce: `sum` or `max` (parameters are the same parameters in every stage).
    """
    rows = frame.ledgers[frame.ledgers["item"] == item]
    named = rows[rows["stage"].isin(list(stages))]
    rows = named if len(named) else rows
    totals = rows.groupby(["arm", "seed"])["value"].agg(reduce)
    found: dict[str, dict[int, float]] = {}
    for (arm, seed), value in totals.items():
        found.setdefault(str(arm), {})[int(seed)] = float(value)
    return found


def average(per_seed: dict[int, float]) -> float:
    """Mean over seeds; NaN of nothing."""
    return float(np.mean(list(per_seed.values()))) if per_seed else math.nan


def curve(frame: Frame, name: str) -> pd.DataFrame:
    """One curve of every run, made once; `flops` and `step` count on where a later stage starts again from 0."""
    if name not in frame.made_curves:
        frame.made_curves[name] = _curve(frame, name)
    return frame.made_curves[name]


def _curve(frame: Frame, name: str) -> pd.DataFrame:
    rows = frame.curves[frame.curves["name"] == name].dropna(subset=["value"])
    parts: list[pd.DataFrame] = []
    own = own_stages(frame)
    for _, run in rows.groupby(["arm", "seed"], sort=False):
        stages = list(dict.fromkeys(run["stage"]))
        # What training noted of a score on its way, the evaluator has scored again: one and the same curve.
        stages = [stage for stage in stages if stage not in own] or stages
        flops_before, step_before = 0.0, 0.0
        for stage in stages:
            part = run[run["stage"] == stage].sort_values("step", kind="stable").copy()
            if len(parts) and stage != stages[0]:
                if part["flops"].iloc[0] < flops_before * (1 - TOLERANCE):
                    part["flops"] += flops_before
                if part["step"].iloc[0] < step_before:
                    part["step"] += step_before
            flops_before, step_before = float(part["flops"].max()), float(part["step"].max())
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else rows


def at_equal_flops(frame: Frame, name: str) -> tuple[float, dict[str, dict[int, float]]]:
    """(budget, arm -> seed -> value) of a curve at the smallest final FLOPs of any arm, interpolated.

    Nothing is extrapolated: a run whose curve does not reach from one side of the budget to the other is left
    out. The budget is NaN where no arm has a curve with FLOPs.
    """
    rows = curve(frame, name).dropna(subset=["flops"])
    if rows.empty:
        return math.nan, {}
    final = rows.groupby(["arm", "seed"])["flops"].max().groupby("arm").mean()
    budget = float(final.min())
    found: dict[str, dict[int, float]] = {}
    for (arm, seed), run in rows.groupby(["arm", "seed"]):
        run = run.sort_values("flops", kind="stable")
        flops, values = run["flops"].to_numpy(float), run["value"].to_numpy(float)
        if flops[0] <= budget * (1 + TOLERANCE) and flops[-1] >= budget * (1 - 1e-3):
            found.setdefault(str(arm), {})[int(seed)] = float(np.interp(budget, flops, values))
    return budget, found


def equal_flops_cube(frame: Frame, values: dict[str, dict[int, float]]) -> Cube:
    """What :func:`at_equal_flops` read, as scores without examples: its comparisons are over seeds alone."""
    means_AS1 = np.full((len(frame.arms), len(frame.seeds), 1), np.nan)
    for arm, per_seed in values.items():
        for seed, value in per_seed.items():
            means_AS1[frame.arms.index(arm), frame.seeds.index(seed), 0] = value
    return Cube(tuple(frame.arms), tuple(frame.seeds), means_AS1, 0)
