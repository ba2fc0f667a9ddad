"""What the page's interactive charts show: quality against cost with its Pareto front, and learning curves.

Arms are named once and meant by their place in the list; everything is aggregated over seeds, so a study of a
thousand runs stays as small as one of thirty. The numbers are those of the tables and figures, to six digits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from reports.budget import curve
from reports.chart_costs import PerSeed, chart_costs, digits
from reports.contrast import contrast
from reports.declare import decimals
from reports.figures.curves import POINTS, make_bands
from reports.figures.pareto import front
from reports.measure import Measure
from reports.render.numbers import plain
from reports.results import Results

CURVE_POINTS = 6_000  # of all curves together: many are thinned further than one, to no fewer than FEWEST
FEWEST = 24
CURVES = 8  # names of curves
LINES = 40  # arms with curves
MEASURES = 12
NAME = 80  # characters of a name


def chart_data(results: Results) -> dict[str, Any] | None:
    """Everything that the charts show, ready for JSON (None stands for an absent value).

    Returns:
        `arms` (name, default, seeds and the place of its level on each of `axes`), `costs` (label, one value an arm),
        `measures` (label, decimals, one mean, SD, interval and list of seeds an arm; `fronts`: for each cost, the arms
        on the Pareto front by rising cost), `curves` (label, and one line an arm: step, FLOPs, mean, least and most
        over seeds), `notes` (what was left out). None where there is nothing to draw: fewer than two arms with a
        quality and a cost, and no curve.
    """
    costs = chart_costs(results)
    measures = _measures(results)
    for measure in measures:
        measure["fronts"] = [_front(measure, one["values"]) for one in costs]
    drawn = any(len(found) for measure in measures for found in measure["fronts"])
    curves, notes = _curves(results, measures)
    if not drawn and not curves:
        return None
    study, runs = results.frame.study, results.frame.runs
    done = runs[runs["status"] == "done"]["arm"].value_counts()
    axes = [axis for axis in study.axes if len({study.arms[arm].get(axis) for arm in results.frame.arms}) > 1]
    return {
        "arms": [
            {
                "name": plain(arm, NAME),
                "default": arm == study.default,
                "seeds": int(done.get(arm, 0)),
                "levels": [_place(study.axes[axis], study.level(arm, axis)) for axis in axes],
            }
            for arm in results.frame.arms
        ],
        "axes": [{"name": plain(axis, NAME), "levels": [plain(v, NAME) for v in study.axes[axis]]} for axis in axes],
        "seeds": results.frame.seeds,
        "costs": costs if drawn else [],
        "measures": measures if drawn else [],
        "curves": curves,
        "notes": notes,
    }


def _place(levels: tuple[str, ...], level: str | None) -> int | None:
    return levels.index(level) if level is not None else None


def _measures(results: Results) -> list[dict[str, Any]]:
    """Every primary score, the headline first, then the metrics of whole sets that a table declares."""
    wanted = [results.headline] if results.headline else []
    wanted += [m for m in (*results.outcomes, *results.scores.primary) if m not in wanted]
    found = [one for m in list(dict.fromkeys(wanted))[:MEASURES] if (one := _scored(results, m)) is not None]
    keys = {one["key"] for one in found}
    return (found + [one for one in _set_metrics(results) if one["key"] not in keys])[:MEASURES]


def _scored(results: Results, measure: Measure) -> dict[str, Any] | None:
    cube = results.scores.cube(measure)
    if cube is None:
        return None
    display, arms = results.display(measure), results.frame.arms
    runs = {arm: cube.run_means(arm) for arm in arms}
    found = _measure(display.name, display.scale, display.decimals, display.better, runs)
    for place, arm in enumerate(arms):
        one = contrast(cube, {arm: 1.0}, pooled=len(arms) > 2)
        if one.known:
            found["low"][place] = digits(one.low * display.scale)
            found["high"][place] = digits(one.high * display.scale)
    found["key"], found["scope"] = measure.label, "seeds and examples" if len(cube.seeds) > 1 else "examples only"
    return found


def _set_metrics(results: Results) -> list[dict[str, Any]]:
    """Metrics without scores an example, so without an interval."""
    found = []
    rows = results.frame.metrics
    for column in (c for d in results.declarations for c in d.columns if "metric" in c and c.get("better")):
        values: PerSeed = {arm: {} for arm in results.frame.arms}
        for row in rows[rows["name"] == column["metric"]].itertuples(index=False):
            values[str(row.arm)][int(row.seed)] = float(row.value)
        if sum(bool(per_seed) for per_seed in values.values()) >= 2:
            label = f"{column.get('group', '')} {column.get('label', column['metric'])}".strip()
            scale = float(column.get("scale", 1))
            one = _measure(label, scale, decimals(column), str(column["better"]), values)
            found.append({**one, "key": str(column["metric"]), "scope": ""})
    return found


def _measure(label: str, scale: float, places: int, better: str, values: PerSeed) -> dict[str, Any]:
    runs = [list(per_seed.values()) for per_seed in values.values()]
    return {
        "label": plain(label, NAME),
        "decimals": places,
        "better": better,
        "mean": [digits(float(np.mean(own)) * scale) if own else None for own in runs],
        "sd": [digits(float(np.std(own, ddof=1)) * scale) if len(own) > 1 else None for own in runs],
        "low": [None] * len(runs),
        "high": [None] * len(runs),
        "runs": [[[seed, digits(v * scale)] for seed, v in sorted(own.items())] for own in values.values()],
    }


def _front(measure: dict[str, Any], costs: list[float | None]) -> list[int]:
    """Arms on the Pareto front by rising cost; none where fewer than two arms have both numbers."""
    both = [
        (place, spent, quality if measure["better"] != "lower" else -quality)
        for place, (spent, quality) in enumerate(zip(costs, measure["mean"], strict=True))
        if spent is not None and quality is not None
    ]
    return [both[i][0] for i in front([(spent, quality) for _, spent, quality in both])] if len(both) > 1 else []


def _curves(results: Results, measures: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The validation curve of the headline first, then the other validation curves, then the losses."""
    frame = results.frame
    headline = f"val/{frame.study.headline}"
    names = sorted(map(str, frame.curves["name"].unique()), key=lambda n: (n != headline, not n.startswith("val/"), n))
    arms, notes = _drawn_arms(results, measures), list[str]()
    if len(arms) < len(frame.arms):
        notes.append(f"Curves of {len(arms)} of {len(frame.arms)} arms: the default and the best by the headline.")
    if len(names) > CURVES:
        notes.append(f"{CURVES} of {len(names)} kinds of curve; all are in curves.parquet.")
    points = min(POINTS, max(FEWEST, CURVE_POINTS // max(1, len(arms) * min(CURVES, len(names)))))
    own = replace(frame, curves=frame.curves[frame.curves["arm"].isin(arms)])
    made: list[dict[str, Any]] = []
    for name in names[:CURVES]:
        bands = make_bands(curve(own, name), arms)
        measure = results.scores.find(name.removeprefix("val/")) if name.startswith("val/") else None
        display = results.display(measure) if measure else None
        scale = display.scale if display else 1.0
        drawn = set(bands["arm"])
        lines = [
            _line(i, _thin(bands[bands["arm"] == arm], points), scale)
            for i, arm in enumerate(frame.arms)
            if arm in drawn
        ]
        if any(len(line["step"]) > 1 for line in lines):
            label = f"{display.name}, validation" if display else name
            made.append({"label": plain(label, NAME), "key": plain(name, NAME), "lines": lines})
    if any(len(line["step"]) == points for one in made for line in one["lines"]):
        notes.append(f"A curve is thinned to at most {points} points, evenly over its steps.")
    return made, notes


def _drawn_arms(results: Results, measures: list[dict[str, Any]]) -> list[str]:
    """All arms, or of too many the default and the best by the headline."""
    arms = results.frame.arms
    if len(arms) <= LINES or not measures:
        return arms[:LINES]
    sign = 1.0 if measures[0]["better"] == "lower" else -1.0
    means = [math.inf if mean is None else sign * mean for mean in measures[0]["mean"]]
    best = sorted(range(1, len(arms)), key=means.__getitem__)[: LINES - 1]
    return [arms[i] for i in sorted([0, *best])]


def _line(arm: int, rows: pd.DataFrame, scale: float) -> dict[str, Any]:
    line: dict[str, Any] = {"arm": arm, "seeds": int(rows["seeds"].max()), "step": [int(step) for step in rows["step"]]}
    for key, factor in (("flops", 1.0), ("mean", scale), ("low", scale), ("high", scale)):
        line[key] = [digits(float(v) * factor) for v in rows[key]]
    if line["seeds"] == 1:
        del line["low"], line["high"]
    else:
        line["band"] = str(rows["band"].iloc[0])
    return line


def _thin(rows: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most `points` rows, evenly, the first and the last among them."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), points)).astype(int))]
