"""Codebook use: how often each code is taken, by rank, for every tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.labels import short_names, spread_labels
from reports.figures.style import SMALL, TEXT_WIDTH, Figure, drawing, make_room, save, series_style
from reports.figures.tokenised import group_name, same, tokenizer_records
from reports.frame import Frame
from reports.render.numbers import plain
from reports.results import Results

NAME = "codebook"
MOST = 8
LABEL = 2.75  # inches for the names
HEIGHT = 2.9


@dataclass(frozen=True)
class Use:
    """How the arms of a group, which share their tokenizers, use the codebook.

    frequency_SR: share of all tokens that have the code of a rank, per seed; 0 beyond the codes used.
    size: codes in the book, None where no run told.
    """

    arms: list[str]
    frequency_SR: np.ndarray
    used: float
    perplexity: float
    size: float | None

    @property
    def dead(self) -> float | None:
        """Codes that no token of the evaluated images has, mean over seeds."""
        return None if self.size is None else self.size - self.used


def count_codes(texts: pd.Series) -> np.ndarray:
    """How often each code occurs in texts like `17 903 12`, the most frequent first."""
    codes = " ".join(texts).split()
    counts = pd.Series(codes, dtype=object).value_counts().to_numpy()
    return np.sort(counts)[::-1]


def perplexity(counts: np.ndarray) -> float:
    """exp of the entropy of the use of codes."""
    share = counts / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def measure_use(frame: Frame) -> list[Use]:
    """The use of every tokenizer's codebook; tokenizers without codes are left out."""
    rows = tokenizer_records(frame)
    rows = rows[rows["prediction"].astype(str).str.fullmatch(r"[0-9]+( [0-9]+)*")]
    found = []
    for group in same(rows, "prediction", frame.arms):
        own = rows[rows["arm"].isin(group)]
        # Of one seed every arm of the group has the same codes.
        counts = [count_codes(part.drop_duplicates("example_id")["prediction"]) for _, part in own.groupby("seed")]
        frequency_SR = np.zeros((len(counts), max(len(c) for c in counts)))
        for row, c in zip(frequency_SR, counts, strict=True):
            row[: len(c)] = c / c.sum()
        used = float(np.mean([len(c) for c in counts]))
        mean_perplexity = float(np.mean([perplexity(c) for c in counts]))
        found.append(Use(group, frequency_SR, used, mean_perplexity, _size(frame, group)))
    return found


def _size(frame: Frame, group: list[str]) -> float | None:
    """Codes in the book: those used and those dead, as the runs counted them."""
    rows = frame.metrics[frame.metrics["arm"].isin(group)]
    told = rows[rows["name"].isin(("tokenizer/codes_used", "tokenizer/dead_codes"))]
    whole = told.groupby(["arm", "seed"])["value"].agg(["sum", "count"])
    sizes = whole.loc[whole["count"] == 2, "sum"]
    return float(sizes.iloc[0]) if len(sizes) else None


def draw_codebook(results: Results, folder: Path) -> Figure | None:
    """A curve a tokenizer; None where no record has codes."""
    frame = results.frame
    uses = measure_use(frame)
    if not uses:
        return None
    names = short_names(frame.arms, 24)
    shown = uses[:MOST]
    with drawing(NAME) as pyplot:
        from matplotlib.ticker import FuncFormatter

        figure, axis = pyplot.subplots(figsize=(TEXT_WIDTH, HEIGHT))
        figure.subplots_adjust(
            left=0.72 / TEXT_WIDTH, right=1 - LABEL / TEXT_WIDTH, bottom=0.42 / HEIGHT, top=1 - 0.1 / HEIGHT
        )
        axis.set_xscale("log")
        axis.set_yscale("log")
        ends = [_curve(axis, use, i) for i, use in enumerate(shown)]
        axis.set_xlabel("rank of the code")
        axis.set_ylabel("share of all tokens")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            one.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        make_room(figure)
        _name(axis, shown, ends, names)
        table = _data(uses)
        svg = save(figure, NAME, folder, table)
    told = "; ".join(f"{', '.join(use.arms)}: {_numbers(use)}" for use in uses)
    return Figure(NAME, "Codebook use", _caption(uses, len(shown), frame), told, svg, table)


def _curve(axis: Any, use: Use, index: int) -> tuple[float, float]:
    """Draw mean and band, thinned to ranks that can be told apart; returns where the mean ends."""
    mean, low, high = _summary(use)
    look = series_style(index)
    ranks = np.unique(np.geomspace(1, len(mean), 160).round().astype(int))
    at = ranks - 1
    floor = mean[mean > 0].min()
    if len(use.frequency_SR) > 1:
        axis.fill_between(ranks, np.maximum(low[at], floor / 2), high[at], color=look.colour, alpha=0.15, linewidth=0)
    axis.plot(ranks, mean[at], color=look.colour, linestyle=look.dash)
    axis.plot(ranks[-1:], mean[at][-1:], look.marker, color=look.colour, markersize=4, markeredgecolor="white")
    return float(ranks[-1]), float(mean[at][-1])


def _summary(use: Use) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    freq = use.frequency_SR
    return freq.mean(axis=0), freq.min(axis=0), freq.max(axis=0)


def _name(axis: Any, uses: list[Use], ends: list[tuple[float, float]], names: dict[str, str]) -> None:
    """Name, codes used and perplexity of each curve in the margin, tied to its end."""
    tall = axis.get_position().height * HEIGHT
    low, high = np.log10(axis.get_ylim())
    gap = 0.27 / tall * (high - low)
    rows = spread_labels([float(np.log10(y)) for _, y in ends], gap, low + gap / 2, high - gap / 2)
    left, right = np.log10(axis.get_xlim())
    inch = (right - left) / (axis.get_position().width * TEXT_WIDTH)
    for i, (use, (x, y), row) in enumerate(zip(uses, ends, rows, strict=True)):
        look = series_style(i)
        line = {"color": look.colour, "clip_on": False}
        key = [10 ** (right + 0.1 * inch), 10 ** (right + 0.42 * inch)]
        axis.plot([x, key[0]], [y, 10**row], linewidth=0.4, alpha=0.6, **line)
        axis.plot(key, [10**row] * 2, linestyle=look.dash, linewidth=1.1, **line)
        axis.plot(key[1:], [10**row], look.marker, markersize=3.6, **line)
        text = f"{group_name(use.arms, names, 40)}\n{_numbers(use)}"
        at = 10 ** (right + 0.5 * inch)
        axis.text(at, 10**row, text, color=look.colour, fontsize=SMALL, va="center", linespacing=1.05)
    axis.set_xlim(10**left, 10**right)
    axis.set_ylim(10**low, 10**high)


def _numbers(use: Use) -> str:
    dead = "" if use.dead is None else f", {max(0.0, use.dead):.0f} dead"
    return f"{use.used:.0f} used{dead}, perplexity {use.perplexity:.0f}"


def _data(uses: list[Use]) -> pd.DataFrame:
    """arm, rank, mean, low, high, and what the label says; arms that share a tokenizer have equal rows."""
    parts = []
    for use in uses:
        mean, low, high = _summary(use)
        facts = {"used": use.used, "perplexity": use.perplexity, "dead": use.dead, "seeds": len(use.frequency_SR)}
        told = {"rank": np.arange(1, len(mean) + 1), "mean": mean, "low": low, "high": high, **facts}
        parts += [pd.DataFrame({"arm": arm, **told}) for arm in use.arms]
    return pd.concat(parts, ignore_index=True)


def _caption(uses: list[Use], shown: int, frame: Frame) -> str:
    seeds = max(len(use.frequency_SR) for use in uses)
    text = "How often the codes are taken on the evaluated images, the most frequent first, on logarithmic axes. "
    text += f"Line: mean over {seeds} seeds at each rank; band: least to most. " if seeds > 1 else "One seed: no band. "
    text += (
        "Used: codes that some token has; dead: those of the book that none has; perplexity: exp of the entropy of use"
    )
    text += ", means over seeds." if seeds > 1 else "."
    if any(len(use.arms) > 1 for use in uses):
        text += " Arms with equal codes in every image share a line."
    if len(uses) > shown:
        text += f" The first {shown} of {len(uses)} tokenizers; all in the data."
    without = [arm for arm in frame.arms if frame.done(arm) and not any(arm in use.arms for use in uses)]
    if without:
        text += f" Without codes: {plain('; '.join(without), 300)}."
    return text
