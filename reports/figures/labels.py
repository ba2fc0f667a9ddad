"""Direct labels: names short enough for a figure, and places at which they do not meet."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from reports.figures.style import SMALL
from reports.render.numbers import plain

CROWDED = 24  # letters from which on names made of levels are told by the levels alone, in every figure alike
Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def short_names(names: Sequence[str], limit: int) -> dict[str, str]:
    """Name -> what a figure calls it: the name itself where it is short enough, else shortened, never two alike.

    Where any is too long, `regime=adapter llm=frozen` becomes `adapter+frozen`, and so do the others of its kind; what
    is still too long is cut in the middle, or around the first difference where names would then be alike.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    texts = [plain(name, 400) or "(no name)" for name in names]
    crowded = any(len(text) > CROWDED for text in texts)
    if crowded:
        texts = [_levels(text) for text in texts]
    cuts = [_cut(text, limit) for text in texts]
    for place, (name, text, cut) in enumerate(zip(names, texts, cuts, strict=True)):
        alike = [texts[i] for i, other in enumerate(cuts) if other == cut and i != place and texts[i] != text]
        if alike:
            start = max(0, min(_first_difference(text, other) for other in alike) - 3)
            cut = _cut("…" + text[start:] if start else text, limit, 0.8)
        short, number = cut, 2
        while short in taken:
            tail = f" ({number})"
            short, number = _cut(text, limit - len(tail)) + tail, number + 1
        taken.add(short)
        found[name] = short
    return found


def _first_difference(one: str, other: str) -> int:
    """Where two texts part."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _levels(text: str) -> str:
    """`adapter+frozen` for `regime=adapter llm=frozen`; any other text, and that of a single level, as it is."""
    levels = [part.strip(",;").partition("=")[2] for part in text.split()]
    return "+".join(levels) if len(levels) > 1 and all(levels) else text


def _cut(text: str, limit: int, before: float = 0.5) -> str:
    """The text without its middle where it is wider than `limit` ordinary letters; `before`: share kept of its head."""
    if _width(text) <= limit:
        return text
    for kept in range(len(text) - 1, 0, -1):
        head = math.ceil(kept * before)
        short = text[:head].rstrip() + "…" + text[len(text) - (kept - head) :].lstrip()
        if _width(short) <= limit:
            return short
    return "…"


def _width(text: str) -> float:
    """In ordinary letters: capitals take more room, and Chinese characters two letters'."""
    return sum(_letter(char) for char in text)


def _letter(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF" or char == "\ufffd":
        return 2.0
    return 1.35 if char.isupper() or char in "mw%@#+=<>~^…—−×" else 1.0


def spread_labels(wanted: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """Positions nearest to the wanted ones that are `gap` apart, in the same order, within `low` and `high`.

    Least squares under an order: less i * gap, the positions must not fall, which pooling neighbours solves exactly
    (isotonic regression). Where there is no room for all, the gap shrinks to what there is.
    """
    count = len(wanted)
    if count == 0:
        return []
    if count > 1 and high - low < gap * (count - 1):
        gap = (high - low) / (count - 1)
    order = sorted(range(count), key=lambda i: wanted[i])
    pools: list[tuple[float, int]] = []  # mean and size
    for place, i in enumerate(order):
        mean, size = float(wanted[i]) - place * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, size = (before * many + mean * size) / (many + size), many + size
        pools.append((mean, size))
    flat = np.concatenate([np.full(size, mean) for mean, size in pools])
    placed = np.clip(flat, low, max(low, high - gap * (count - 1))) + gap * np.arange(count)
    found = [0.0] * count
    for position, i in zip(placed, order, strict=True):
        found[i] = float(position)
    return found


def place_labels(
    axis: Any, points: Sequence[tuple[float, float, str, str]], obstacles: Iterable[Box] = (), size: float = SMALL
) -> list[Any]:
    """Write a name beside each point (x, y, text, colour), clear of the other names, of points and of `obstacles`.

    The axis must have its final limits and place. Each name takes, of positions around its point, the one with the
    least overlap, the nearest first; one that had to move away is tied to its point by a line.
    """
    figure = axis.figure
    renderer = figure.canvas.get_renderer()
    bounds = axis.get_window_extent(renderer)
    xy = axis.transData.transform([(x, y) for x, y, _, _ in points]) if points else []
    blocked: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in xy]
    soft = list(obstacles)
    made: list[Any] = []
    taken: list[Box] = []
    for (x, y), (at_x, at_y, text, colour) in zip(xy, points, strict=True):
        drawn = axis.text(at_x, at_y, text, fontsize=size, color=colour, va="center", ha="left", zorder=6)
        extent = drawn.get_window_extent(renderer)
        width, height = extent.width + 2, extent.height
        best: tuple[float, Box, float] | None = None
        for dx, dy in _around(width, height):
            box = (x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2)
            outside = max(0.0, bounds.x0 - box[0]) + max(0.0, box[2] - bounds.x1)
            outside += max(0.0, bounds.y0 - box[1]) + max(0.0, box[3] - bounds.y1)
            away = abs(dy) + 0.3 * abs(dx + width / 2)
            cost = 40 * outside + 0.5 * away + 20 * _meets(box, taken) + 4 * _meets(box, blocked) + _meets(box, soft)
            if best is None or cost < best[0]:
                best = (cost, box, dy)
        assert best is not None
        _, box, dy = best
        taken.append(box)
        to_data = axis.transData.inverted()
        drawn.set_position(tuple(to_data.transform((box[0] + 1, (box[1] + box[3]) / 2))))
        if abs(dy) > height:
            end = (box[0] if box[0] > x else box[2], (box[1] + box[3]) / 2)
            tie = to_data.transform([(x, y), end])
            axis.plot(tie[:, 0], tie[:, 1], color=colour, linewidth=0.4, alpha=0.7, zorder=1)
        made.append(drawn)
    return made


def _around(width: float, height: float) -> list[tuple[float, float]]:
    """Offsets (left edge, middle) from a point, the nearest first."""
    found = [(7.0, 0.0), (-width - 7.0, 0.0), (-width / 2, height), (-width / 2, -height)]
    for ring in range(1, 15):
        for side in (7.0, -width - 7.0):
            found += [(side, ring * height * 0.55), (side, -ring * height * 0.55)]
    return found


def _meets(box: Box, others: Sequence[Box]) -> float:
    """Shared area in pixels, over all the others."""
    shared = 0.0
    for other in others:
        across = min(box[2], other[2]) - max(box[0], other[0])
        up = min(box[3], other[3]) - max(box[1], other[1])
        if across > 0 and up > 0:
            shared += across * up
    return shared
