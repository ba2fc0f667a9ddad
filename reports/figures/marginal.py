"""Marginal means: the headline by the levels of each axis, over all arms, with the other axes as faint lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from reports.contrast import contrast
from reports.figures.labels import short_names
from reports.figures.style import FAINT, OPEN, PALETTE, SMALL, TEXT_WIDTH, Figure, drawing, make_room, save
from reports.measure import Cube
from reports.render.numbers import plain
from reports.results import Results
from reports.spread import spread_of
from reports.study import Study

NAME = "marginal"
COLUMNS = 4
TALL = 1.5  # inches of a panel


def draw_marginal(results: Results, folder: Path) -> Figure | None:
    """A panel an axis; None without a design that crosses axes."""
    measure = results.headline
    cube = results.scores.cube(measure) if measure else None
    if measure is None or cube is None:
        return None
    strips = {axis: matched_strips(results.frame.study, cube, axis) for axis in results.frame.study.axes}
    # One strip an axis is an arm against the default, which the forest shows.
    if not any(len(found) > 1 for found in strips.values()):
        return None
    strips = {axis: found for axis, found in strips.items() if found}
    display = results.display(measure)
    data: list[dict[str, Any]] = []
    columns = min(COLUMNS, len(strips))
    lines = -(-len(strips) // columns)
    exclude = spread_of(cube).outlying
    with drawing(NAME) as pyplot:
        width, height = TEXT_WIDTH * max(columns, 2) / COLUMNS, lines * (TALL + 0.62)
        figure, axes = pyplot.subplots(lines, columns, figsize=(width, height), squeeze=False, sharey=True)
        figure.subplots_adjust(
            left=0.5 / width, right=1 - 0.05 / width, bottom=0.34 / height, top=1 - 0.25 / height, wspace=0.08,
            hspace=0.62 / TALL,
        )  # fmt: skip
        for axis, (name, found) in zip(axes.flat, strips.items(), strict=False):
            data += _panel(axis, name, found, cube, exclude, display.scale)
        for axis in axes.flat[len(strips) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(plain(display.name, 24))
        make_room(figure)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    seeds = len(cube.seeds)
    over = "seeds and examples" if seeds > 1 else "examples (one seed)"
    caption = (
        f"{display.name} by the levels of each axis. Grey: arms that differ in this axis only, joined (mean over "
        f"{seeds} seed{'s' if seeds > 1 else ''} each; their number in brackets); in colour: the mean over them, each "
        f"level over the same settings of the other axes, with its 95 % interval over {over}. The interval is of the "
        "mean, not of the difference: for that see the effects."
    )
    means = [d for d in data if d["arm"] == ""]
    alt = "; ".join(f"{d['axis']}={d['level']}: {d['mean'] * display.scale:.4g}" for d in means)
    return Figure(NAME, "Marginal means", caption, alt, svg, table)


def matched_strips(study: Study, cube: Cube, axis: str) -> list[dict[str, str]]:
    """Level -> arm, for every setting of the other axes at which each level of `axis` has an arm with a score."""
    groups: dict[tuple[str | None, ...], dict[str, str]] = {}
    for arm in study.arms:
        level = study.level(arm, axis)
        if arm in study.also or level is None or not cube.run_means(arm):
            continue
        others = tuple(study.arms[arm].get(a) or study.reference(a) for a in study.axes if a != axis)
        groups.setdefault(others, {}).setdefault(level, arm)
    present = {level for group in groups.values() for level in group}
    levels = [level for level in study.axes[axis] if level in present]
    return [
        {level: group[level] for level in levels}
        for group in groups.values()
        if len(levels) > 1 and all(level in group for level in levels)
    ]


def _panel(
    axis: Any, name: str, strips: list[dict[str, str]], cube: Cube, exclude: tuple[str, ...], scale: float
) -> list[dict[str, Any]]:
    levels = list(strips[0])
    rows = []
    for strip in strips:
        means = {level: contrast(cube, {arm: 1.0}).estimate for level, arm in strip.items()}
        axis.plot(range(len(levels)), [means[level] * scale for level in levels], color=FAINT, linewidth=0.8, zorder=1)
        axis.plot(range(len(levels)), [means[level] * scale for level in levels], ".", color=OPEN, markersize=3.5)
        for level, arm in strip.items():
            rows.append(
                {"axis": name, "level": level, "arm": arm, "mean": means[level], "low": math.nan, "high": math.nan}
            )
    overall = []
    for x, level in enumerate(levels):
        c = contrast(cube, {strip[level]: 1 / len(strips) for strip in strips}, exclude=exclude)
        overall.append(c.estimate * scale)
        if c.known:
            axis.plot([x, x], [c.low * scale, c.high * scale], color=PALETTE[1], linewidth=1.6, zorder=3)
        rows.append({"axis": name, "level": level, "arm": "", "mean": c.estimate, "low": c.low, "high": c.high})
    axis.plot(range(len(levels)), overall, "D-", color=PALETTE[1], markersize=4, linewidth=1.2, zorder=4)
    short = short_names(levels, max(4, 26 // len(levels)))
    crowded = max(map(len, short.values())) * len(levels) > 20
    axis.set_xticks(range(len(levels)), [short[level] for level in levels], fontsize=SMALL if crowded else 8)
    axis.set_xlim(-0.4, len(levels) - 0.6)
    axis.set_title(f"{plain(name, 16)} ({len(strips)})", loc="left")
    return rows
