"""Learning curves on steps and on training FLOPs; the band spans the seeds from least to most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.budget import curve
from reports.figures.style import TEXT_WIDTH, Figure, arm_style, drawing, save, spread_labels
from reports.render.numbers import plain
from reports.results import Results
from reports.table import common_unit

NAME = "curves"
POINTS = 120


def draw_curves(results: Results, folder: Path) -> Figure | None:
    """Validation headline on steps and on FLOPs, training loss on steps; None where there is no curve."""
    frame = results.frame
    names = set(frame.curves["name"])
    headline = f"val/{frame.study.headline}"
    panels = [(headline, "step"), (headline, "flops")] if headline in names else []
    loss = next((n for n in ("train/loss", "val/loss") if n in names), None)
    if loss:
        panels.append((loss, "step"))
    drawn = {name: _bands(curve(frame, name), frame.arms) for name in dict.fromkeys(n for n, _ in panels)}
    panels = [(name, on) for name, on in panels if not drawn[name].empty and drawn[name][on].notna().any()]
    if not panels:
        return None
    styles = arm_style(frame.arms)
    measure = results.headline
    display = results.display(measure) if measure is not None else None
    with drawing(NAME) as pyplot:
        figure, axes = pyplot.subplots(1, len(panels), figsize=(TEXT_WIDTH, 2.6), squeeze=False)
        for axis, (name, on) in zip(axes[0], panels, strict=True):
            scale = display.scale if display and name == headline else 1.0
            factor, suffix = common_unit(drawn[name][on]) if on == "flops" else (1.0, "")
            _panel(axis, drawn[name], on, (factor, scale), frame.arms, styles)
            title = display.name + ", validation" if display and name == headline else name
            axis.set_title(plain(title, 40))
            axis.set_xlabel("optimizer steps" if on == "step" else f"training {suffix}FLOPs")
            if on == "flops":
                budget = results.equal_flops[0]
                if np.isfinite(budget) and name == headline:
                    axis.axvline(budget * factor, color="#8a8a8a", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
                    _mark_budget(axis, budget * factor)
        figure.tight_layout(pad=0.5, w_pad=1.0)
        table = pd.concat([drawn[n].assign(name=n) for n in drawn], ignore_index=True)
        svg = save(figure, NAME, folder, table)
    seeds = max((len(frame.done(arm)) for arm in frame.arms), default=0)
    band = f"Line: mean over {seeds} seeds; band: least to most of them." if seeds > 1 else "One seed: no band."
    caption = f"Learning curves. {band}"
    if any(on == "flops" for _, on in panels):
        caption += " The dashed rule marks the FLOPs at which arms are compared at equal compute (‡)."
    alt = "Learning curves of " + ", ".join(frame.arms)
    return Figure(NAME, "Learning curves", caption, alt, svg, table)


def _mark_budget(axis: Any, at: float) -> None:
    axis.axvline(at, color="#8a8a8a", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    across = axis.get_xaxis_transform()
    axis.text(at, 0.02, " equal FLOPs ‡", transform=across, fontsize=6.5, color="#555555", ha="left")


def _bands(rows: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    """Mean, least and most over seeds at the steps that every seed of an arm has."""
    found = []
    for arm in arms:
        own = rows[rows["arm"] == arm]
        if own.empty:
            continue
        seeds = own["seed"].nunique()
        grouped = own.groupby("step").agg(
            flops=("flops", "mean"), mean=("value", "mean"), low=("value", "min"), high=("value", "max"),
            seeds=("seed", "nunique"),
        )  # fmt: skip
        full = grouped[grouped["seeds"] == seeds].reset_index()
        if len(full) > POINTS:
            full = full.iloc[np.unique(np.linspace(0, len(full) - 1, POINTS).astype(int))]
        full.insert(0, "arm", arm)
        found.append(full)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _panel(
    axis: Any,
    bands: pd.DataFrame,
    on: str,
    scales: tuple[float, float],
    arms: list[str],
    styles: dict[str, tuple[str, Any]],
) -> None:
    """Draw every arm's curve, its name at its end."""
    scale = scales[1]
    ends: list[tuple[str, float, float]] = []
    for arm in arms:
        own = bands[bands["arm"] == arm].dropna(subset=[on])
        if own.empty:
            continue
        colour, dash = styles[arm]
        x = own[on].to_numpy(float) * scales[0]
        axis.fill_between(x, own["low"] * scale, own["high"] * scale, color=colour, alpha=0.15, linewidth=0)
        axis.plot(x, own["mean"] * scale, color=colour, linestyle=dash)
        ends.append((arm, float(x[-1]), float(own["mean"].iloc[-1]) * scale))
    low, high = axis.get_ylim()
    rows = spread_labels([y for _, _, y in ends], (high - low) * 0.072)
    left, right = axis.get_xlim()
    axis.set_xlim(left, right + (right - left) * 0.52)
    edge = max((x for _, x, _ in ends), default=right)
    for (arm, x, y), label in zip(ends, rows, strict=True):
        colour = styles[arm][0]
        axis.plot([x, edge + (right - left) * 0.03], [y, label], color=colour, linewidth=0.5, alpha=0.6)
        axis.text(edge + (right - left) * 0.045, label, plain(arm, 22), color=colour, fontsize=6.5, va="center")
    ticks = [t for t in axis.get_xticks() if left <= t <= right]
    axis.set_xticks(ticks)
