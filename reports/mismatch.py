"""Levels whose metric should agree (`match` of a table), and the arms where it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reports.budget import average
from reports.results import Results


def mismatches(
    results: Results, match: Mapping[str, Any], values: dict[str, dict[int, float]] | None = None
) -> dict[str, str]:
    """Arm -> words, where a metric is too far from the default's for levels that should agree."""
    study = results.frame.study
    axis, levels = str(match.get("axis")), [str(level) for level in match.get("levels") or []]
    if axis not in study.axes or study.arms[study.default].get(axis) not in levels:
        return {}
    if values is None:
        rows = results.frame.metrics[results.frame.metrics["name"] == match.get("metric")]
        values = {str(a): dict(zip(g["seed"], g["value"], strict=True)) for a, g in rows.groupby("arm")}
    base = average(values.get(study.default, {}))
    found = {}
    for arm in study.others:
        mine = average(values.get(arm, {}))
        if study.arms[arm].get(axis) in levels and math.isfinite(mine) and base and math.isfinite(base):
            off = mine / base - 1
            if abs(off) > float(match.get("within", 0.1)):
                apart = f"{off:+.0%}".replace("-", "−")
                found[arm] = (
                    f"{arm} keeps {mine:.1f} tokens on average, {study.default} {base:.1f}: {apart}, more than "
                    f"{float(match.get('within', 0.1)):.0%} apart, so tokens are not matched."
                )
    return found
