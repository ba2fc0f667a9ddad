"""Variance parts: would more seeds or more examples shorten each interval?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.figures.labels import short_names
from reports.figures.style import OPEN, PALETTE, SMALL, TALLEST, TEXT_WIDTH, Figure, drawing, save
from reports.render.numbers import plain
from reports.results import Results

NAME = "variance"
MOST = 4


def draw_variance(results: Results, folder: Path) -> Figure | None:
    """One panel a benchmark, one bar a difference, cut into what seeds and what examples bring; None with one seed."""
    measures = []
    for measure in results.outcomes:
        shown = results.effects.shown(measure)
        if any(e.contrast.scope == "seeds and examples" for e in shown):
            measures.append(measure)
    measures = measures[:MOST]
    if not measures:
        return None
    rows = results.effects.shown(measures[0])
    labels = [effect.label for effect in rows]
    data = []
    with drawing(NAME) as pyplot:
        line = min(0.26, (TALLEST - 1.0) / len(rows))
        size = (TEXT_WIDTH, line * len(rows) + 1.0)
        figure, axes = pyplot.subplots(1, len(measures), figsize=size, sharey=True, squeeze=False)
        for axis, measure in zip(axes[0], measures, strict=True):
            display = results.display(measure)
            for y, (label, effect) in enumerate(zip(labels, results.effects.shown(measure), strict=False)):
                c = effect.contrast
                if c.scope != "seeds and examples":
                    continue
                share = c.seed_share if c.se > 0 else 0.0
                half = (c.high - c.low) / 2 * display.scale
                axis.barh(y, half * share, height=0.6, color=PALETTE[1])
                axis.barh(y, half * (1 - share), left=half * share, height=0.6, color="#c9d6df", hatch="//", lw=0)
                data.append(
                    {"benchmark": display.name, "subject": label, "half_width": half / display.scale,
                     "seed_share": share, "variance_seed": c.variance_seed, "variance_example": c.variance_example}
                )  # fmt: skip
            axis.set_title(plain(display.name, 32))
            axis.set_ylim(len(rows) - 0.4, -0.6)
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
        names = short_names(labels, 40)
        axes[0][0].set_yticks(range(len(rows)), [names[label] for label in labels], fontsize=8 if line > 0.2 else SMALL)
        figure.supxlabel("half the 95 % interval", fontsize=8, x=0.01, ha="left")
        handles = [
            pyplot.Rectangle((0, 0), 1, 1, color=PALETTE[1]),
            pyplot.Rectangle((0, 0), 1, 1, facecolor="#c9d6df", hatch="//", edgecolor=OPEN, lw=0),
        ]
        figure.tight_layout(pad=0.5, w_pad=1.2)
        figure.legend(
            handles, ["seeds: more runs", "examples: a larger test set"], loc="lower right", ncols=2, frameon=False,
            fontsize=SMALL, borderaxespad=0.1,
        )  # fmt: skip
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    caption = (
        "Half the width of each interval, cut by the share of the variance that comes from seeds (solid: more seeds "
        "shorten it) and from examples (hatched: only a larger test set does)."
    )
    alt = "; ".join(f"{d['subject']} on {d['benchmark']}: {d['seed_share']:.0%} from seeds" for d in data)
    return Figure(NAME, "What the uncertainty is made of", caption, alt, svg, table)
