"""One style for every figure: colour-blind safe, directly labelled, the same bytes from the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

# Okabe and Ito's palette without its yellow (too pale on white); the default arm is always the first,
# near-black.
PALETTE = ("#1b1b1b", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
GOOD, BAD, OPEN, BAND = "#0072B2", "#D55E00", "#8a8a8a", "#d9d9d9"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
TEXT_WIDTH = 7.0  # inches
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica Neue", "Arial", "sans-serif"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "figure.dpi": 100,
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its SVG for the page, its caption, a description in words, and its data."""

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    data: pd.DataFrame


@contextmanager
def drawing(name: str) -> Iterator[Any]:
    """Pyplot with the style set and without a display; the figure's name salts the SVG's element ids."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    settings: Any = {**STYLE, "svg.hashsalt": f"lavit-{name}"}
    with matplotlib.rc_context(settings):
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def arm_style(arms: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Arm -> (colour, dash), the same in every figure: colours first, dashes when they run out."""
    return {arm: (PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)]) for i, arm in enumerate(arms)}


def save(figure: Any, name: str, folder: Path, data: pd.DataFrame) -> str:
    """Write NAME.svg, NAME.pdf and NAME.csv without dates; returns the SVG as an element for the page."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "lavit report"})
    svg = buffer.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Creator": "lavit report", "Producer": None})
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    return as_element(svg, name)


def as_element(svg: str, name: str) -> str:
    """The `<svg>` alone, scalable, with ids that no other figure on the page has."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.S)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", element)
    element = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', element)
    return element.replace("<svg ", '<svg role="img" ', 1).strip()


def spread_labels(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions near the wanted ones that are at least `gap` apart, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [wanted[i] for i in order]
    for _ in range(200):
        moved = False
        for a in range(len(placed) - 1):
            lack = gap - (placed[a + 1] - placed[a])
            if lack > 1e-9:
                placed[a] -= lack / 2
                placed[a + 1] += lack / 2
                moved = True
        if not moved:
            break
    found = [0.0] * len(wanted)
    for position, i in zip(placed, order, strict=True):
        found[i] = position
    return found
