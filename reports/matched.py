"""Equal budgets: what an arm reached against the reference where the two had cost the same.

`match: {by: train_flops, to: default}` in a study file asks for it, for each arm whose budget is another.

With `how: branch` the dearer of the two was cooled down a second time, from where its trunk had cost what the other did
in all: the comparison is one of finished runs, over seeds and examples like any other.

Else both learning curves are read at the smaller budget, seed by seed: the one that trained on is read on the way,
before its cool-down. Both are values of the validation curve, so they stand beside the arm's contrast and not in its
place; they are marked ‡. Arms that were trained to equal budgets (`how: steps`) leave nothing to interpolate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import LavitError, did_you_mean
from reports.budget import average, cost, curve, own_stages
from reports.contrast import contrast
from reports.cube import Cube, Measure
from reports.effects import Effect
from reports.frame import Frame
from reports.measure import Scores
from reports.price import MATCH_ITEMS

SAME = 0.01  # budgets that differ by less are equal


@dataclass(frozen=True)
class Matched:
    """An arm against the reference at the smaller of their two budgets.

    effect: of kind `matched`, over seeds alone. by: what is equal. budget: how much of it, mean over seeds. ratio: the
    arm's own budget over the reference's. on_the_way: the arm whose curve was read before its end, or which was cooled
    down there. interpolated: whether a curve was read.
    """

    effect: Effect
    by: str
    budget: float
    ratio: float
    on_the_way: str
    interpolated: bool = True


def matched_effects(frame: Frame, headline: Measure | None) -> list[Matched]:
    """Every arm of another budget than the reference, uncorrected; empty where a study does not ask for it.

    Raises:
        LavitError: the study file's `match` names no known budget, or no arm.
    """
    match = frame.study.extra.get("match")
    if match is None or headline is None:
        return []
    by, reference = _read(match, frame)
    if match.get("how") == "branch":
        return branch_effects(frame, headline, reference, match.get("branches") or [])
    rows = curve(frame, f"val/{frame.study.headline}")
    runs = {(str(a), int(s)): run for (a, s), run in rows.groupby(["arm", "seed"])}
    curves = {name: made for name, run in runs.items() if (made := _over_budget(frame, by, *name, run)) is not None}
    found = []
    for arm in frame.arms:
        seeds = [s for s in frame.seeds if (arm, s) in curves and (reference, s) in curves]
        if arm == reference or not seeds:
            continue
        ends = np.array([[curves[name, s][0][-1] for s in seeds] for name in (arm, reference)])
        ratio = float(ends[0].mean() / ends[1].mean())
        if abs(ratio - 1) <= SAME:
            continue
        budgets_S = ends.min(axis=0)
        read = [[_at(*curves[name, s], b) for s, b in zip(seeds, budgets_S, strict=True)] for name in (arm, reference)]
        cube = Cube((arm, reference), tuple(seeds), np.array(read)[..., None], 0)
        weights = {arm: 1.0, reference: -1.0}
        told = contrast(cube, weights, pooled=False)
        effect = Effect("matched", headline, arm, reference, told, family="exploratory", weights=weights)
        found.append(Matched(effect, by, float(budgets_S.mean()), ratio, reference if ratio < 1 else arm))
    return found


def branch_effects(
    frame: Frame, headline: Measure, reference: str, branches: Iterable[Mapping[str, Any]]
) -> list[Matched]:
    """Each arm against the reference, one of the two as it was when cooled down at the other's budget."""
    whole = frame.whole or frame
    cube = Scores(whole).cube(headline)
    found: list[Matched] = []
    if cube is None:
        return found
    for branch in branches:
        name, of, by = str(branch["arm"]), str(branch["of"]), str(branch["by"])
        arm = of if of != reference else str(branch["against"])
        spent, own, base = (average(_totals(whole, by, one)) for one in (name, arm, reference))
        weights = {name if of == arm else arm: 1.0, reference if of == arm else name: -1.0}
        effect = Effect(
            "matched", headline, arm, reference, contrast(cube, weights), family="exploratory", weights=weights
        )
        found.append(Matched(effect, by, spent, own / base, of, interpolated=False))
    return found


def _totals(frame: Frame, by: str, arm: str) -> dict[int, float]:
    """What each seed of an arm spent of a budget."""
    parts = [cost(frame, item, own_stages(frame)).get(arm, {}) for item in MATCH_ITEMS[by]]
    return {seed: sum(part.get(seed, 0.0) for part in parts) for seed in frame.done(arm)}


def _read(match: object, frame: Frame) -> tuple[str, str]:
    """(what is matched, the reference arm)."""
    file = frame.folder / "study.yaml"
    hint = "write match: {by: train_flops, to: default}"
    if not isinstance(match, dict):
        raise LavitError(f"{file}: match: {match!r} is not a mapping", hint)
    by, to = match.get("by"), str(match.get("to", "default"))
    if by not in MATCH_ITEMS:
        raise LavitError(f"{file}: match.by: there is no budget {by!r}", did_you_mean(str(by), MATCH_ITEMS))
    reference = frame.study.default if to == "default" else to
    if reference not in frame.arms:
        raise LavitError(f"{file}: match.to: there is no arm '{to}'", did_you_mean(to, ["default", *frame.arms]))
    return str(by), reference


def _over_budget(frame: Frame, by: str, arm: str, seed: int, run: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """(budget so far, value) along a run's curve; None where nothing tells the budget.

    Other budgets than FLOPs are not in the curves: they grow with the steps, in equal parts, to what the ledgers of the
    arm's own stages came to.
    """
    if by == "train_flops":
        run = run.dropna(subset=["flops"]).sort_values("flops", kind="stable")
        spent = run["flops"].to_numpy(float)
    else:
        run = run.sort_values("step", kind="stable")
        totals = [cost(frame, item, own_stages(frame)).get(arm, {}) for item in MATCH_ITEMS[by]]
        total = sum(own.get(seed, 0.0) for own in totals)
        steps = run["step"].to_numpy(float)
        spent = steps / steps[-1] * total if len(steps) and steps[-1] > 0 else np.empty(0)
    return (spent, run["value"].to_numpy(float)) if len(spent) and spent[-1] > 0 else None


def _at(spent: np.ndarray, values: np.ndarray, budget: float) -> float:
    """The curve's value at a budget; NaN before its first point, since nothing is extrapolated."""
    return float(np.interp(budget, spent, values)) if spent[0] <= budget else float("nan")
