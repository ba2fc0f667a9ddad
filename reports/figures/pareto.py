"""Quality against cost: the headline against training FLOPs and against visual tokens, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.budget import average, cost, own_stages
from reports.contrast import contrast
from reports.figures.style import OPEN, TEXT_WIDTH, Figure, arm_style, drawing, save, spread_labels
from reports.render.numbers import plain
from reports.results import Results
from reports.table import common_unit

NAME = "pareto"


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, quality) that no other point beats in both, by rising cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    kept: list[int] = []
    for i in order:
        if not kept or points[i][1] > points[kept[-1]][1]:
            kept.append(i)
    return kept


def draw_pareto(results: Results, folder: Path) -> Figure | None:
    """A panel a cost that is known; None without a headline, or with fewer than two arms that have both."""
    measure = results.headline
    cube = results.scores.cube(measure) if measure else None
    if measure is None or cube is None:
        return None
    display = results.display(measure)
    better = -1.0 if display.better == "lower" else 1.0
    panels = [p for p in (_flops(results), _tokens(results)) if len(p[1]) >= 2]
    if not panels:
        return None
    styles = arm_style(results.frame.arms)
    data: list[dict[str, Any]] = []
    with drawing(NAME) as pyplot:
        figure, axes = pyplot.subplots(1, len(panels), figsize=(TEXT_WIDTH, 2.7), squeeze=False)
        for axis, (label, costs) in zip(axes[0], panels, strict=True):
            rows = []
            for arm, spent in costs.items():
                c = contrast(cube, {arm: 1.0}, pooled=len(cube.arms) > 2)
                if math.isfinite(c.estimate):
                    half = (c.high - c.low) / 2 if c.known else 0.0
                    rows.append((arm, spent, c.estimate, half))
            if not rows:
                continue
            on_front = {rows[i][0] for i in front([(x, better * y) for _, x, y, _ in rows])}
            factor, unit = common_unit([x for _, x, _, _ in rows]) if label.endswith("FLOPs") else (1.0, "")
            for arm, x, y, half in rows:
                colour = styles[arm][0]
                marker = "o" if arm in on_front else "x"
                axis.errorbar(
                    x * factor, y * display.scale, yerr=half * display.scale, fmt=marker, color=colour, capsize=2,
                    markersize=5, linewidth=0.9,
                )  # fmt: skip
                told = {"cost": label, "spent": x, "arm": arm, "quality": y, "half_width": half}
                data.append({**told, "pareto": arm in on_front})
            best = sorted((x * factor, y * display.scale) for arm, x, y, _ in rows if arm in on_front)
            axis.step(
                *zip(*best, strict=True), where="post", color=OPEN, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1
            )
            _name(axis, [(arm, x * factor, y * display.scale) for arm, x, y, _ in rows], styles)
            axis.set_xlabel(f"{label}{f' ({unit})' if unit else ''}")
            axis.set_title(plain(display.name, 32))
        figure.tight_layout(pad=0.5, w_pad=1.6)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    caption = (
        f"{display.name} against what it costs, mean over seeds with its 95 % interval over seeds and examples. "
        "Dashed: the Pareto front; a cross: an arm that another one beats at no greater cost (by the means, whatever "
        "the intervals)."
    )
    alt = "; ".join(f"{d['arm']}: {d['quality']:.4g} at {d['spent']:.4g} {d['cost']}" for d in data)
    return Figure(NAME, "Quality against cost", caption, alt, svg, table)


def _flops(results: Results) -> tuple[str, dict[str, float]]:
    own = own_stages(results.frame)
    spent = {arm: average(per_seed) for arm, per_seed in cost(results.frame, "flops", own).items()}
    return "training FLOPs", {arm: x for arm, x in spent.items() if math.isfinite(x) and x > 0}


def _tokens(results: Results) -> tuple[str, dict[str, float]]:
    found: dict[str, float] = {}
    measure = results.headline
    cube = results.scores.tokens(measure) if measure else None
    for arm in results.frame.arms if cube else []:
        assert cube is not None
        mean = average(cube.run_means(arm))
        if math.isfinite(mean):
            found[arm] = mean
    return "visual tokens an image", found


def _name(axis: Any, points: list[tuple[str, float, float]], styles: dict[str, tuple[str, Any]]) -> None:
    """Each arm's name beside its point; names that would meet are pushed apart."""
    low, high = axis.get_ylim()
    left, right = axis.get_xlim()
    axis.set_xlim(left, right + (right - left) * 0.35)
    rows = spread_labels([y for _, _, y in points], (high - low) * 0.085)
    for (arm, x, y), label in zip(points, rows, strict=True):
        at = x + (right - left) * 0.04
        if abs(label - y) > (high - low) * 0.02:
            axis.plot([x, at], [y, label], color=styles[arm][0], linewidth=0.4, alpha=0.6)
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        axis.text(at, label, plain(arm, 22), color=styles[arm][0], fontsize=6.5, va="center", bbox=ground)
