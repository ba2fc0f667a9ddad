"""What arms cost, for the charts: one value an arm and kind of cost, in a unit that reads well."""

from __future__ import annotations

import math
from typing import Any

from reports.budget import average, cost, own_stages
from reports.results import Results
from reports.table import common_unit

COSTS = (
    ("params_trainable", "trainable parameters", "max", False),
    ("params_total", "parameters", "max", False),
    ("positions", "positions trained on", "sum", True),
    ("flops", "FLOPs of all stages", "sum", False),
)  # ledger item, label, how it adds up over stages, whether only the arm's own stages count

PerSeed = dict[str, dict[int, float]]  # arm -> seed -> value


def chart_costs(results: Results) -> list[dict[str, Any]]:
    """Each cost that at least two arms have, and that is not the same as one before it."""
    frame = results.frame
    own = own_stages(frame)
    named: list[tuple[str, str, PerSeed]] = [("flops", "training FLOPs", cost(frame, "flops", own))]
    for measure in results.scores.primary:
        cube = results.scores.tokens(measure)
        if cube is not None:
            named.append(("tokens", "visual tokens an image", {arm: cube.run_means(arm) for arm in frame.arms}))
            break
    named.append(("seconds", "training time", _seconds(results, own)))
    for item, label, reduce, only_own in COSTS:
        named.append((f"{item}.{reduce}", label, cost(frame, item, own if only_own else (), reduce)))
    found: list[dict[str, Any]] = []
    for key, label, spent in named:
        values = [average(spent.get(arm, {})) for arm in frame.arms]
        known = [v for v in values if math.isfinite(v) and v > 0]
        if len(known) < 2:
            continue
        factor, unit = _unit(key, known)
        shown = [digits(v * factor) if math.isfinite(v) and v > 0 else None for v in values]
        if shown not in [one["values"] for one in found]:
            found.append({"key": key, "label": f"{label}{f' ({unit})' if unit else ''}", "values": shown})
    return found


def _seconds(results: Results, stages: tuple[str, ...]) -> PerSeed:
    """Wall time of the stages that train what an arm is."""
    found: PerSeed = {}
    for run in results.frame.runs.itertuples(index=False):
        taken = [float(run.wall_s[stage]) for stage in stages if isinstance(run.wall_s.get(stage), (int, float))]
        if taken and math.isfinite(sum(taken)):
            found.setdefault(str(run.arm), {})[int(run.seed)] = sum(taken)
    return found


def _unit(key: str, values: list[float]) -> tuple[float, str]:
    if key == "seconds":
        longest = max(values)
        return (1 / 3600, "h") if longest > 7200 else (1 / 60, "min") if longest > 300 else (1.0, "s")
    return common_unit(values) if key != "tokens" else (1.0, "")


def digits(value: float) -> float | None:
    """The value to six digits; None where it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
