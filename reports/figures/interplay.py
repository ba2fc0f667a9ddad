"""Interaction plots: the means of the four corners, level by level, with every seed as a dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.effects import Effect
from reports.figures.labels import short_names, spread_labels
from reports.figures.style import PALETTE, SMALL, TEXT_WIDTH, Figure, drawing, make_room, save
from reports.measure import Cube
from reports.render.numbers import MINUS, plain
from reports.results import Results

NAME = "interactions"
MOST = 6
LOOKS = ((PALETTE[1], "o", "-"), (PALETTE[2], "s", (0, (4, 1.5))))
TALL = 1.35  # inches of a panel


def draw_interactions(results: Results, folder: Path) -> Figure | None:
    """The interactions of the headline, the surest first; None where the design tells none."""
    measure = results.headline
    cube = results.scores.cube(measure) if measure else None
    if measure is None or cube is None:
        return None
    every = [e for e in results.effects.interactions(measure) if e.contrast.known]
    found = sorted(every, key=lambda e: (e.contrast.p, e.name))[:MOST]
    if not found:
        return None
    display = results.display(measure)
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    data: list[dict[str, Any]] = []
    with drawing(NAME) as pyplot:
        width, height = TEXT_WIDTH * columns / 3 + (0.5 if columns < 3 else 0), lines * (TALL + 0.85)
        figure, axes = pyplot.subplots(lines, columns, figsize=(width, height), squeeze=False, sharey=True)
        figure.subplots_adjust(
            left=0.5 / width, right=1 - 0.05 / width, bottom=0.42 / height, top=1 - 0.36 / height, wspace=0.08,
            hspace=0.85 / TALL,
        )  # fmt: skip
        ends = []
        for axis, effect in zip(axes.flat, found, strict=False):
            rows = _panel(axis, effect, cube, display.scale)
            data += rows
            ends.append((axis, effect, rows))
            axis.set_title(_title(effect, display.scale, display.decimals), fontsize=7, loc="left")
        for axis in axes.flat[len(found) :]:
            axis.set_visible(False)
        for axis, effect, rows in ends:  # limits are shared: names come last
            _name_lines(axis, effect, rows, display.scale)
        for axis in axes[:, 0]:
            axis.set_ylabel(plain(display.name, 24))
        make_room(figure)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    caption = (
        "Does the effect of one axis depend on another? Means over the matched quadruples of arms, every seed a dot"
        f" (n = {len(cube.seeds)}); parallel lines: no interaction. Above each: the difference of differences with its "
        "95 % interval over seeds and examples; a dot: called after correction (exploratory unless the study names it "
        "under `interactions`)."
    )
    if len(every) > len(found):
        caption += f" The {len(found)} surest of {len(every)}."
    alt = "; ".join(f"{e.name}: {e.contrast.estimate * display.scale:+.3g}" for e in found)
    return Figure(NAME, "Interactions", caption, alt, svg, table)


def _title(effect: Effect, scale: float, decimals: int) -> str:
    c = effect.contrast
    axes = " × ".join(plain(axis, 14) for axis in str(effect.axis).split("*"))
    numbers = f"{c.estimate * scale:+.{decimals}f} [{c.low * scale:.{decimals}f}, {c.high * scale:.{decimals}f}]"
    return f"{axes}\n{numbers.replace('-', MINUS)}" + (" •" if effect.verdict == "interact" else "")


def _panel(axis: Any, effect: Effect, cube: Cube, scale: float) -> list[dict[str, Any]]:
    """One interaction: the first axis along x, a line for each level of the second."""
    (first, second), levels = str(effect.axis).split("*"), effect.subject.split("*")
    against = effect.against.split("*")
    corners = np.array(effect.quadruples)  # both, second alone, first alone, neither
    rows = []
    for line, (name, arms) in enumerate(
        ((against[1], (corners[:, 3], corners[:, 2])), (levels[1], (corners[:, 1], corners[:, 0])))
    ):
        colour, marker, dash = LOOKS[line]
        means = []
        for x, group in enumerate(arms):
            runs_AS = np.array([[cube.run_means(a).get(s, np.nan) for s in cube.seeds] for a in group])
            seeds_S = runs_AS.mean(axis=0)
            seeds_S = seeds_S[np.isfinite(seeds_S)]
            means.append(float(seeds_S.mean()) if len(seeds_S) else float("nan"))
            spread = (np.arange(len(seeds_S)) - (len(seeds_S) - 1) / 2) * 0.03 + 0.05 * (line - 0.5)
            axis.plot(x + spread, seeds_S * scale, marker, color=colour, markersize=2.5, alpha=0.5, markeredgewidth=0)
            level = (against[0], levels[0])[x]
            told = {"mean": means[-1], "arms": len(group), "seeds": ", ".join(f"{v:.10g}" for v in seeds_S)}
            rows.append({"interaction": f"{first}*{second}", first: level, second: name, **told})
        axis.plot([0, 1], np.array(means) * scale, color=colour, marker=marker, markersize=4, linestyle=dash)
    axis.set_xticks([0, 1], [plain(against[0], 14), plain(levels[0], 14)])
    axis.set_xlim(-0.2, 2.0)
    return rows


def _name_lines(axis: Any, effect: Effect, rows: list[dict[str, Any]], scale: float) -> None:
    """The second axis's levels at the right ends of their lines."""
    second = str(effect.axis).split("*")[1]
    low, high = axis.get_ylim()
    wanted = [row["mean"] * scale for row in (rows[1], rows[3])]
    names = short_names([rows[1][second], rows[3][second]], 14)
    placed = spread_labels([w if np.isfinite(w) else (low + high) / 2 for w in wanted], (high - low) * 0.1, low, high)
    for line, (row, at) in enumerate(zip((rows[1], rows[3]), placed, strict=True)):
        axis.text(1.13, at, names[row[second]], color=LOOKS[line][0], fontsize=SMALL, va="center")
