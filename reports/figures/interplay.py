"""Interaction plots: the means of the four corners, level by level, with every seed as a dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.effects import Effect
from reports.figures.style import PALETTE, TEXT_WIDTH, Figure, drawing, save
from reports.measure import Cube
from reports.render.numbers import plain
from reports.results import Results

NAME = "interactions"
MOST = 6


def draw_interactions(results: Results, folder: Path) -> Figure | None:
    """The interactions of the headline, the surest first; None where the design tells none."""
    measure = results.headline
    cube = results.scores.cube(measure) if measure else None
    if measure is None or cube is None:
        return None
    found = [e for e in results.effects.interactions(measure) if e.contrast.known]
    found = sorted(found, key=lambda e: (e.contrast.p, e.name))[:MOST]
    if not found:
        return None
    display = results.display(measure)
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    data: list[dict[str, Any]] = []
    with drawing(NAME) as pyplot:
        size = (TEXT_WIDTH * columns / 3 + 0.2, 2.2 * lines)
        figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False, sharey=True)
        for axis, effect in zip(axes.flat, found, strict=False):
            data += _panel(axis, effect, cube, display.scale)
            c = effect.contrast
            axis.set_title(
                f"{c.estimate * display.scale:+.{display.decimals}f} "
                f"[{c.low * display.scale:.{display.decimals}f}, {c.high * display.scale:.{display.decimals}f}]"
                + (" •" if effect.verdict == "interact" else ""),
                fontsize=7,
            )
        for axis in axes.flat[len(found) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(plain(display.name, 24))
        figure.tight_layout(pad=0.5, w_pad=1.0, h_pad=1.2)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    caption = (
        "Does the effect of one axis depend on another? Means over the matched quadruples of arms, every seed a dot; "
        "parallel lines: no interaction. Above each: the difference of differences with its 95 % interval; a dot: "
        "called after correction (exploratory unless the study names it under `interactions`)."
    )
    alt = "; ".join(f"{e.name}: {e.contrast.estimate * display.scale:+.3g}" for e in found)
    return Figure(NAME, "Interactions", caption, alt, svg, table)


def _panel(axis: Any, effect: Effect, cube: Cube, scale: float) -> list[dict[str, Any]]:
    """One interaction: the first axis along x, a line for each level of the second."""
    (first, second), levels = str(effect.axis).split("*"), effect.subject.split("*")
    against = effect.against.split("*")
    corners = np.array(effect.quadruples)  # both, second alone, first alone, neither
    rows = []
    for line, (name, arms) in enumerate(
        ((against[1], (corners[:, 3], corners[:, 2])), (levels[1], (corners[:, 1], corners[:, 0])))
    ):
        colour, marker = PALETTE[1 + line], "os"[line]
        means = []
        for x, group in enumerate(arms):
            runs_AS = np.array([[cube.run_means(a).get(s, np.nan) for s in cube.seeds] for a in group])
            seeds_S = runs_AS.mean(axis=0)
            seeds_S = seeds_S[np.isfinite(seeds_S)]
            means.append(float(seeds_S.mean()) if len(seeds_S) else float("nan"))
            spread = (np.arange(len(seeds_S)) - (len(seeds_S) - 1) / 2) * 0.03 + 0.05 * (line - 0.5)
            axis.plot(x + spread, seeds_S * scale, marker, color=colour, markersize=2.5, alpha=0.5, markeredgewidth=0)
            level = (against[0], levels[0])[x]
            rows.append(
                {"interaction": f"{first}*{second}", first: level, second: name, "mean": means[-1], "arms": len(group)}
            )
        axis.plot([0, 1], np.array(means) * scale, color=colour, marker=marker, markersize=4, label=plain(name, 16))
    axis.set_xticks([0, 1], [plain(against[0], 16), plain(levels[0], 16)])
    axis.set_xlim(-0.25, 1.25)
    axis.set_xlabel(plain(first, 20))
    axis.legend(title=plain(second, 16), fontsize=6, title_fontsize=6.5, frameon=False, loc="best")
    return rows
