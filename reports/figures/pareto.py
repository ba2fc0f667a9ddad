"""Quality against cost: the headline against training FLOPs and against visual tokens, with the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.budget import average, cost, own_stages
from reports.contrast import Contrast, contrast
from reports.figures.labels import place_labels, short_names
from reports.figures.style import FAINT, OPEN, TEXT_WIDTH, Figure, Series, arm_style, drawing, make_room, save
from reports.render.numbers import plain
from reports.results import Results
from reports.table import common_unit

NAME = "pareto"
HEIGHT = 2.9  # inches
MOST_NAMED = 12


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
    quality = {arm: contrast(cube, {arm: 1.0}, pooled=len(cube.arms) > 2) for arm in results.frame.arms}
    quality = {arm: c for arm, c in quality.items() if math.isfinite(c.estimate)}
    panels = [(label, {a: x for a, x in costs.items() if a in quality}) for label, costs in _costs(results)]
    panels = [(label, costs) for label, costs in panels if len(costs) >= 2]
    if not panels:
        return None
    styles, labels = arm_style(results.frame.arms), short_names(results.frame.arms, 24)
    data: list[dict[str, Any]] = []
    with drawing(NAME) as pyplot:
        figure, axes = pyplot.subplots(1, len(panels), figsize=(TEXT_WIDTH, HEIGHT), squeeze=False, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.975, bottom=0.42 / HEIGHT, top=1 - 0.06 / HEIGHT, wspace=0.06)
        for axis, (label, costs) in zip(axes[0], panels, strict=True):
            points = _points(label, costs, quality, -1.0 if display.better == "lower" else 1.0)
            data += points
            _panel(axis, points, display.scale, styles)
        axes[0][0].set_ylabel(plain(display.name, 40))
        make_room(figure)
        for axis, (label, _) in zip(axes[0], panels, strict=True):  # limits are shared: names come last
            _name(axis, [d for d in data if d["cost"] == label], display.scale, labels, styles)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    seeds = sorted({c.n_seeds for c in quality.values()})
    over = "seeds and examples" if seeds[-1] > 1 else "examples (one seed)"
    caption = (
        f"{display.name} against what it costs: mean over {' to '.join(map(str, seeds[:: max(1, len(seeds) - 1)]))} "
        f"seed{'s' if seeds[-1] > 1 else ''} with its 95 % interval over {over}. Dashed: the Pareto front; a filled "
        "glyph: an arm on it; an open one: an arm that another beats at no greater cost (by the means, whatever the "
        "intervals)."
    )
    if len(quality) > MOST_NAMED:
        caption += " Named: the default and the arms on the front; the others in grey, named in the data."
    alt = "; ".join(f"{d['arm']}: {d['quality']:.4g} at {d['spent']:.4g} {d['cost']}" for d in data)
    return Figure(NAME, "Quality against cost", caption, alt, svg, table)


def _points(label: str, costs: dict[str, float], quality: dict[str, Contrast], better: float) -> list[dict[str, Any]]:
    best = front([(x, better * quality[arm].estimate) for arm, x in costs.items()])
    on_front = {list(costs)[i] for i in best}
    named = len(quality) <= MOST_NAMED
    default = next(iter(quality))
    found = []
    for arm, x in costs.items():
        c = quality[arm]
        half = (c.high - c.low) / 2 if c.known else 0.0
        told = {"cost": label, "spent": x, "arm": arm, "quality": c.estimate, "half_width": half, "seeds": c.n_seeds}
        found.append({**told, "pareto": arm in on_front, "named": named or arm in on_front or arm == default})
    return found


def _panel(axis: Any, points: list[dict[str, Any]], scale: float, styles: dict[str, Series]) -> None:
    """Every arm's point with its whisker, and the front."""
    label = points[0]["cost"]
    factor, unit = common_unit([d["spent"] for d in points]) if label.endswith("FLOPs") else (1.0, "")
    for d in points:
        style = styles[d["arm"]]
        colour = style.colour if d["named"] else FAINT
        x, y = d["spent"] * factor, d["quality"] * scale
        if d["half_width"] > 0:
            bars = {"capsize": 1.8, "capthick": 0.7, "zorder": 3 if d["named"] else 2}
            axis.errorbar(x, y, yerr=d["half_width"] * scale, fmt="none", ecolor=colour, elinewidth=0.7, **bars)
        face = colour if d["pareto"] else "white"
        look = {"markersize": 5, "markeredgecolor": colour, "markerfacecolor": face, "markeredgewidth": 1.0}
        axis.plot(x, y, style.marker, linestyle="none", zorder=5 if d["named"] else 2.5, **look)
    best = sorted((d["spent"] * factor, d["quality"] * scale) for d in points if d["pareto"])
    if len(best) > 1:
        line = {"color": OPEN, "linewidth": 0.9, "linestyle": (0, (3, 2)), "zorder": 1}
        axis.step(*zip(*best, strict=True), where="post", **line)
    axis.set_xlabel(f"{unit}FLOPs of training" if label.endswith("FLOPs") else label)
    left, right = axis.get_xlim()
    if max(d["spent"] for d in points) - min(d["spent"] for d in points) < 1e-9 * abs(right):
        left, right = left - 1, right + 1  # every arm costs the same
    wide = right - left
    axis.set_xlim(left - 0.1 * wide, right + 0.3 * wide)


def _name(
    axis: Any, points: list[dict[str, Any]], scale: float, labels: dict[str, str], styles: dict[str, Series]
) -> None:
    """The arms' names beside their points, clear of each other and, where it can be, of the whiskers."""
    factor = common_unit([d["spent"] for d in points])[0] if points[0]["cost"].endswith("FLOPs") else 1.0
    whiskers = []
    for d in points:
        x, y, half = d["spent"] * factor, d["quality"] * scale, d["half_width"] * scale
        (across, low), (_, high) = axis.transData.transform([(x, y - half), (x, y + half)])
        whiskers.append((across - 2, low, across + 2, high))
    front_xy = sorted((d["spent"] * factor, d["quality"] * scale) for d in points if d["pareto"])
    corners = axis.transData.transform(front_xy)
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        whiskers += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, min(y0, y1), x1 + 1, max(y0, y1))]
    named = [d for d in points if d["named"]]
    named.sort(key=lambda d: (-d["quality"], d["arm"]))
    what = [(d["spent"] * factor, d["quality"] * scale, labels[d["arm"]], styles[d["arm"]].colour) for d in named]
    place_labels(axis, what, whiskers)


def _costs(results: Results) -> list[tuple[str, dict[str, float]]]:
    return [_flops(results), _tokens(results)]


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
