"""The heat map: every arm's difference to the default on every benchmark, at one look."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from reports.figures.labels import short_names
from reports.figures.style import BAD, GOOD, SMALL, SMALLEST, TALLEST, TEXT_WIDTH, Figure, drawing, save
from reports.render.numbers import MINUS
from reports.results import Results

NAME = "heatmap"
MOST = 24  # rows that can be read on a page
CLIP = 6.0  # standard errors at which a cell has its full colour


def draw_heatmap(results: Results, folder: Path) -> Figure | None:
    """Arms by benchmarks; None with fewer than two of either, for which the forest says it all.

    A cell's colour is the difference in its own standard errors, so that benchmarks of different units can stand side
    by side; its text is the difference in the units of the tables, and a dot marks what is called after Holm.
    """
    measures = [m for m in results.outcomes if any(_known(results, arm, m) for arm in results.frame.study.others)]
    arms = [arm for arm in results.frame.study.others if any(_known(results, arm, m) for m in measures)]
    if len(measures) < 2 or len(arms) < 2:
        return None
    shade = np.full((len(arms), len(measures)), np.nan)
    texts = np.full(shade.shape, "", dtype=object)
    data = []
    names = [results.display(measure).name for measure in measures]
    for column, measure in enumerate(measures):
        display = results.display(measure)
        for row, arm in enumerate(arms):
            effect = results.effects.arm(measure, arm)
            if effect is None or not effect.contrast.known:
                continue
            c = effect.contrast
            better = -1.0 if display.better == "lower" else 1.0
            shade[row, column] = better * c.estimate / c.se if c.se > 0 else 0.0
            called = effect.verdict in ("helps", "hurts")
            text = f"{c.estimate * display.scale:+.{display.decimals}f}".replace("-", MINUS)
            texts[row, column] = f"{text}{' •' if called else ''}"
            told = {"in_standard_errors": shade[row, column], "p_adjusted": c.p_adjusted, "verdict": effect.verdict}
            data.append({"arm": arm, "benchmark": names[column], "estimate": c.estimate, **told})
    table, every = pd.DataFrame(data), len(arms)
    if every > MOST:
        furthest = np.argsort(-np.nanmax(np.abs(shade), axis=1), kind="stable")[:MOST]
        kept = sorted(int(row) for row in furthest)
        arms, shade, texts = [arms[row] for row in kept], shade[kept], texts[kept]
    with drawing(NAME) as pyplot:
        import seaborn
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("verdict", [BAD, "#f7f7f7", GOOD])
        line = min(0.32, (TALLEST - 1.1) / len(arms))
        height = line * len(arms) + 1.1
        width = min(TEXT_WIDTH, 3.2 + 0.95 * len(measures))
        figure, axis = pyplot.subplots(figsize=(width, height), layout="constrained")
        letters = SMALL if (width - 2.8) / len(measures) > 0.5 else SMALLEST
        seaborn.heatmap(
            np.clip(shade, -CLIP, CLIP), annot=texts, fmt="", cmap=colours, vmin=-CLIP, vmax=CLIP, ax=axis,
            linewidths=1.5, linecolor="white", annot_kws={"fontsize": letters}, mask=np.isnan(shade),
            cbar_kws={"label": "better →  (standard errors)", "shrink": 0.9},
        )  # fmt: skip
        axis.set_facecolor("#f0f0f0")
        for row, column in zip(*np.nonzero(np.isnan(shade)), strict=True):
            axis.text(column + 0.5, row + 0.5, "–", ha="center", va="center", color="#8a8a8a")
        rows, heads = short_names(arms, 34), short_names(names, 22)
        axis.set_yticklabels([rows[arm] for arm in arms], rotation=0, fontsize=8 if line > 0.2 else SMALL)
        axis.set_xticklabels([heads[name] for name in names], rotation=20, ha="right", rotation_mode="anchor")
        axis.tick_params(length=0)
        svg = save(figure, NAME, folder, table)
    caption = (
        "Each arm's difference to the default, in the units of Table 1; colour: the same in its own standard errors "
        f"(orange worse, blue better, full colour at {CLIP:.0f}); a dot: called after Holm; a dash: not measured."
    )
    if every > MOST:
        caption += (
            f" The {MOST} of {every} arms that lie furthest from the default on any benchmark; all are in the CSV."
        )
    alt = "; ".join(f"{d['arm']} on {d['benchmark']}: {d['verdict']}" for d in data if d["arm"] in arms)
    return Figure(NAME, "Differences to the default", caption, alt, svg, table)


def _known(results: Results, arm: str, measure: object) -> bool:
    effect = results.effects.arm(measure, arm)  # type: ignore[arg-type]
    return effect is not None and effect.contrast.known and math.isfinite(effect.contrast.estimate)
