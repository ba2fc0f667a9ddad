"""The forest: every difference with its interval, before the bar of what could not have been seen."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from reports.effects import Effect
from reports.figures.labels import short_names
from reports.figures.style import BAD, BAND, GOOD, OPEN, SMALL, TALLEST, TEXT_WIDTH, Figure, drawing, save
from reports.render.numbers import plain
from reports.results import Results

MOST_PANELS = 4
NAME = "forest"


def draw_forest(results: Results, folder: Path) -> Figure | None:
    """One panel a benchmark, one row an arm (a level, in a factorial design); None without any estimate."""
    measures = [m for m in results.outcomes if any(e.contrast.known for e in results.effects.shown(m))]
    measures = measures[:MOST_PANELS]
    if not measures:
        return None
    rows = results.effects.shown(measures[0])
    labels = [_label(e) for e in rows]
    data: list[dict[str, object]] = []
    with drawing(NAME) as pyplot:
        line = min(0.34, (TALLEST - 1.0) / len(rows))
        height = line * len(rows) + 1.0
        figure, axes = pyplot.subplots(1, len(measures), figsize=(TEXT_WIDTH, height), sharey=True, squeeze=False)
        for axis, measure in zip(axes[0], measures, strict=True):
            display = results.display(measure)
            for y, effect in enumerate(results.effects.shown(measure)):
                c, k = effect.contrast, display.scale
                data.append(_datum(effect, display.name))
                if not c.known:
                    place = {"textcoords": "offset points", "va": "center"}
                    axis.annotate("not estimable", (0, y), (3, 0), fontsize=SMALL, color=OPEN, **place)
                    continue
                if math.isfinite(c.detectable):
                    axis.barh(y, 2 * c.detectable * k, left=-c.detectable * k, height=0.62, color=BAND, zorder=1)
                colour = {"helps": GOOD, "hurts": BAD}.get(effect.verdict, OPEN)
                marker = {"helps": "^", "hurts": "v"}.get(effect.verdict, "o")
                axis.plot(
                    [c.low * k, c.high * k],
                    [y, y],
                    color=colour,
                    linewidth=1.8,
                    zorder=3,
                    solid_capstyle="butt",
                )
                point = {"markersize": 5, "zorder": 4, "markeredgecolor": "white", "markeredgewidth": 0.5}
                axis.plot(c.estimate * k, y, marker, color=colour, **point)
            axis.axvline(0, color="#555555", linewidth=0.8, zorder=2)
            axis.set_title(plain(display.name, 32))
            axis.set_ylim(len(rows) - 0.4, -0.6)
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
            axis.margins(x=0.08)
            left, right = axis.get_xlim()
            if right - left < 1e-6:  # no run differs at all
                axis.set_xlim(-1, 1)
        names = short_names(labels, 40)
        size = 8 if line > 0.2 else SMALL
        axes[0][0].set_yticks(range(len(rows)), [names[label] for label in labels], fontsize=size)
        for axis in axes[0][1:]:
            axis.tick_params(axis="y", labelleft=False)
        figure.supxlabel(
            "difference to the default" if not results.effects.by_axis else "effect of the level", fontsize=8
        )
        figure.tight_layout(pad=0.5, w_pad=1.2)
        table = pd.DataFrame(data)
        svg = save(figure, NAME, folder, table)
    what = f"main effects {results.effects.basis}" if results.effects.by_axis else "each arm less the default"
    caption = (
        f"Differences with 95 % intervals over {_covers(data)}: {what}. Grey bar: differences that this design "
        "would have missed more often than one time in five (80 % power, at Holm's strictest step). Up and blue: "
        "better after Holm; down and orange: worse; grey: not called."
    )
    alt = "; ".join(f"{d['subject']} on {d['benchmark']}: {d['verdict']}" for d in data)
    return Figure(NAME, "Effects", caption, alt, svg, table)


def _covers(data: list[dict[str, object]]) -> str:
    """What the intervals are over, with the number of seeds."""
    seeds = sorted({int(str(d["seeds"])) for d in data if d["seeds"]})
    if seeds[-1] == 1:
        return "examples of this one training run"
    return f"{f'{seeds[0]} to {seeds[-1]}' if len(seeds) > 1 else seeds[0]} seeds and the examples"


def _label(effect: Effect) -> str:
    pairs = f" ({len(effect.pairs)} pairs)" if len(effect.pairs) > 1 else ""
    return effect.label + pairs


def _datum(effect: Effect, name: str) -> dict[str, object]:
    c = effect.contrast
    return {
        "benchmark": name,
        "subject": _label(effect),
        "against": effect.against,
        "estimate": c.estimate,
        "low": c.low,
        "high": c.high,
        "detectable": c.detectable,
        "p_adjusted": c.p_adjusted,
        "verdict": effect.verdict,
        "seeds": c.n_seeds,
        "examples": c.n_examples,
    }
