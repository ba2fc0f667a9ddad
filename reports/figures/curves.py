"""Learning curves on steps and on training FLOPs, with bands over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from reports.budget import curve
from reports.figures.labels import short_names, spread_labels
from reports.figures.style import FAINT, SMALL, TEXT_WIDTH, Figure, arm_style, drawing, make_room, save
from reports.render.numbers import plain
from reports.results import Results
from reports.table import common_unit

NAME = "curves"
POINTS = 80
MOST = 12  # arms that can be told apart in a panel; of more, HIGHLIGHTED are drawn in colour
HIGHLIGHTED = 8
FEW_SEEDS = 5  # below, a band spans the seeds; from here on it is an interval of their mean
LABEL = 1.75  # inches for the names at the right
LINE = 0.115  # inches from one name to the next


def draw_curves(results: Results, folder: Path) -> Figure | None:
    """Validation headline and training loss, each on steps and on FLOPs; None where there is no curve."""
    frame = results.frame
    names = set(frame.curves["name"])
    headline = f"val/{frame.study.headline}"
    loss = next((n for n in ("train/loss", "val/loss") if n in names), None)
    shown = [name for name in (headline, loss) if name in names]
    bands = {name: make_bands(curve(frame, name), frame.arms) for name in shown if name is not None}
    bands = {name: rows for name, rows in bands.items() if not rows.empty}
    if not bands:
        return None
    on = ["step", *(["flops"] if any(rows["flops"].notna().any() for rows in bands.values()) else [])]
    measure = results.headline
    display = results.display(measure) if measure is not None else None
    scales = {name: display.scale if display and name == headline else 1.0 for name in bands}
    lower = bool(display and display.better == "lower")
    chosen = _chosen(next(iter(bands.values())), frame.arms, lower or headline not in bands)
    styles, labels = arm_style(frame.arms), short_names(frame.arms, 24)
    budget = results.equal_flops[0] if headline in bands else np.nan
    tall = max(1.75, LINE * len(chosen) + 0.2)
    with drawing(NAME) as pyplot:
        height = len(bands) * (tall + 0.75) + 0.05
        figure, axes = pyplot.subplots(len(bands), len(on), figsize=(TEXT_WIDTH, height), squeeze=False, sharey="row")
        figure.subplots_adjust(
            left=0.52 / TEXT_WIDTH, right=1 - LABEL / TEXT_WIDTH, bottom=0.42 / height, top=1 - 0.28 / height,
            wspace=0.1, hspace=0.75 / tall,
        )  # fmt: skip
        ends_of: list[tuple[Any, list[tuple[str, float, float]]]] = []
        for row, (name, rows) in zip(axes, bands.items(), strict=True):
            title = display.name + ", validation" if display and name == headline else name
            for axis, kind in zip(row, on, strict=True):
                factor, suffix = common_unit(list(rows[kind].dropna())) if kind == "flops" else (1.0, "")
                ends = _panel(axis, rows, kind, (factor, scales[name]), chosen, styles)
                if not ends:
                    axis.set_visible(False)
                    continue
                named = (axis, ends)
                axis.set_xlabel("optimizer steps" if kind == "step" else f"training {suffix}FLOPs")
                if kind == "flops" and name == headline and np.isfinite(budget):
                    _mark_budget(axis, budget * factor)
            row[0].set_title(plain(title, 60), loc="left")
            ends_of.append(named)
        make_room(figure)
        for axis, ends in ends_of:
            _name_ends(axis, ends, labels, styles, tall)
        table = pd.concat([rows.assign(name=name) for name, rows in bands.items()], ignore_index=True)
        svg = save(figure, NAME, folder, table)
    alt = "Learning curves of " + ", ".join(frame.arms)
    return Figure(NAME, "Learning curves", _caption(table, chosen, frame.arms, np.isfinite(budget)), alt, svg, table)


def _caption(table: pd.DataFrame, chosen: list[str], arms: list[str], budget: bool) -> str:
    most = int(table["seeds"].max())
    fewest = int(table["seeds"].min())
    count = f"{fewest} to {most}" if fewest < most else f"{most}"
    if most == 1:
        band = "One seed: no band."
    elif most < FEW_SEEDS:
        band = f"Line: mean over {count} seeds; band: least to most of them."
    elif fewest < FEW_SEEDS:
        band = (
            f"Line: mean over {count} seeds; band: 95 % interval of the mean over seeds, least to most below 5 seeds."
        )
    else:
        band = f"Line: mean over {count} seeds; band: 95 % interval of the mean over seeds."
    text = f"Learning curves. {band}"
    left_out = len(set(table["arm"]) - set(chosen))
    if left_out:
        text += (
            f" In colour the default and the {len(chosen) - 1} other arms that end best; the other {left_out} in grey."
        )
    if (table["name"] == "train/loss").any() and len(arms) > 1:
        text += " Training losses compare only between arms of one objective."
    if budget:
        text += " The dotted rule marks the FLOPs at which arms are compared at equal compute (‡)."
    return text


def make_bands(rows: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    """Mean and band over seeds at the steps that every seed of an arm has.

    Returns:
        arm, step, flops, mean, low, high, seeds and band (what low and high are; "" of a single seed).
    """
    found = []
    for arm, own in rows[np.isfinite(rows["value"].astype(float))].groupby("arm", sort=False):
        seeds = own["seed"].nunique()
        grouped = own.groupby("step").agg(
            flops=("flops", "mean"), mean=("value", "mean"), low=("value", "min"), high=("value", "max"),
            sd=("value", "std"), seeds=("seed", "nunique"),
        )  # fmt: skip
        full = grouped[grouped["seeds"] == seeds].reset_index()
        if len(full) > POINTS:
            full = full.iloc[np.unique(np.linspace(0, len(full) - 1, POINTS).astype(int))]
        band = "" if seeds == 1 else "least to most"
        if seeds >= FEW_SEEDS:
            half = special.stdtrit(seeds - 1, 0.975) * full["sd"] / np.sqrt(seeds)
            full = full.assign(low=full["mean"] - half, high=full["mean"] + half)
            band = "95 % interval"
        full = full.drop(columns="sd").assign(band=band)
        full.insert(0, "arm", arm)
        found.append(full)
    if not found:
        return pd.DataFrame(columns=["arm", "step", "flops"])
    table = pd.concat(found, ignore_index=True)
    order = {arm: i for i, arm in enumerate(arms)}
    return table.sort_values("arm", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _chosen(rows: pd.DataFrame, arms: list[str], lower: bool) -> list[str]:
    """The arms drawn in colour: all of them, or the default and those that end best."""
    last = rows.groupby("arm", sort=False)["mean"].last()
    if len(last) <= MOST:
        return [arm for arm in arms if arm in last.index]
    best = list(last.sort_values(ascending=lower, kind="stable").index)
    kept = [arm for arm in arms[:1] if arm in last.index]
    kept += [arm for arm in best if arm not in kept][: HIGHLIGHTED - len(kept)]
    return [arm for arm in arms if arm in kept]


def _ends(rows: pd.DataFrame, on: str, scale: float, chosen: list[str]) -> list[tuple[str, float, float]]:
    """(arm, where its curve ends, how high) of the curves in colour."""
    last = rows[rows["arm"].isin(chosen)].dropna(subset=[on]).groupby("arm", sort=False).last()
    return [(str(arm), float(row[on]), float(row["mean"]) * scale) for arm, row in last.iterrows()]


def _panel(
    axis: Any, bands: pd.DataFrame, on: str, scales: tuple[float, float], chosen: list[str], styles: dict[str, Any]
) -> list[tuple[str, float, float]]:
    """Draw every arm's curve; returns where those in colour end."""
    factor, scale = scales
    for arm, own in bands.dropna(subset=[on]).groupby("arm", sort=False):
        x, mean = own[on].to_numpy(float) * factor, own["mean"].to_numpy(float) * scale
        if arm not in chosen:
            axis.plot(x, mean, color=FAINT, linewidth=0.7, zorder=1)
            continue
        style = styles[str(arm)]
        if own["band"].iloc[0]:
            low, high = own["low"].to_numpy(float) * scale, own["high"].to_numpy(float) * scale
            axis.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
        axis.plot(x, mean, color=style.colour, linestyle=style.dash, zorder=3)
        look = {"markersize": 3.6, "markeredgewidth": 0.4, "markeredgecolor": "white", "zorder": 4}
        axis.plot(x[-1:], mean[-1:], style.marker, color=style.colour, **look)
    ends = _ends(bands, on, scale, chosen)
    return [(arm, x * factor, y) for arm, x, y in ends]


def _name_ends(
    axis: Any, ends: list[tuple[str, float, float]], labels: dict[str, str], styles: dict[str, Any], tall: float
) -> None:
    """The arms' names in the margin, in the order in which their curves end, each tied to its end."""
    low, high = axis.get_ylim()
    rows = spread_labels([y for _, _, y in ends], LINE / tall * (high - low), low, high)
    left, right = axis.get_xlim()
    inch = (right - left) / (axis.get_position().width * TEXT_WIDTH)
    axis.set_xlim(left, right)
    for (arm, x, y), at in zip(ends, rows, strict=True):
        style = styles[arm]
        line = {"color": style.colour, "clip_on": False}
        axis.plot([x, right + 0.08 * inch], [y, at], linewidth=0.4, alpha=0.6, **line)
        key = [right + 0.08 * inch, right + 0.36 * inch]
        axis.plot(key, [at, at], linestyle=style.dash, linewidth=1.1, **line)
        axis.plot(key[1:], [at], style.marker, markersize=3.6, **line)
        axis.text(key[1] + 0.06 * inch, at, labels[arm], color=style.colour, fontsize=SMALL, va="center")


def _mark_budget(axis: Any, at: float) -> None:
    axis.axvline(at, color="#8a8a8a", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    across = axis.get_xaxis_transform()
    left, right = axis.get_xlim()
    side = "left" if at < (left + right) / 2 else "right"
    axis.text(at, 0.02, " equal FLOPs ‡ ", transform=across, fontsize=SMALL, color="#555555", ha=side)
