"""One style for every figure: colour-blind safe, directly labelled, the same bytes from the same numbers."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

# Okabe and Ito's palette without its yellow (too pale on white); the default arm is always the first,
# near-black.
PALETTE = ("#1b1b1b", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
GOOD, BAD, OPEN, BAND, FAINT = "#0072B2", "#D55E00", "#8a8a8a", "#d9d9d9", "#cccccc"
# Five and twelve have no common factor, so the first sixty series differ in dash or glyph, whatever the colour.
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h", "*")
COLUMN_WIDTH, NARROW_WIDTH, TEXT_WIDTH = 3.25, 5.5, 6.75  # inches: a column, and the text of one- and two-column pages
TALLEST = 8.6  # inches that a page leaves to a figure beside its caption
SMALL = 6.5  # points, of labels; nothing is set smaller than SMALLEST
SMALLEST = 5.5
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a dollar in an arm's name is a dollar
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
    "hatch.linewidth": 0.6,
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


class Series(NamedTuple):
    """How a series looks: by its dash and glyph it is known in grey too."""

    colour: str
    dash: Any
    marker: str


@contextmanager
def drawing(name: str) -> Iterator[Any]:
    """Pyplot with the style set and without a display; the figure's name salts the SVG's element ids."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    settings: Any = {**STYLE, "svg.hashsalt": f"lavit-{name}"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The SVG holds the letters themselves; only a PDF shows a box for one that no font here has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def series_style(index: int) -> Series:
    """The look of the series at a place: no two of the first sixty share both dash and glyph."""
    colour = PALETTE[index % len(PALETTE)]
    return Series(colour, DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)])


def arm_style(arms: Sequence[str]) -> dict[str, Series]:
    """Arm -> its look, the same in every figure."""
    return {arm: series_style(i) for i, arm in enumerate(arms)}


def make_room(figure: Any) -> None:
    """Move the left edge of subplots so far in that their tick labels, however long, stay on the figure."""
    import numpy as np

    renderer = figure.canvas.get_renderer()
    starts = [axis.yaxis.get_tightbbox(renderer) for axis in figure.axes if axis.get_visible()]
    lack = 3.0 - float(np.min([box.x0 for box in starts if box is not None], initial=3.0))
    if lack > 0:
        figure.subplots_adjust(left=figure.subplotpars.left + lack / figure.bbox.width)


def save(figure: Any, name: str, folder: Path, data: pd.DataFrame, png: bool = False) -> str:
    """Write NAME.svg, NAME.pdf and NAME.csv without dates; returns the SVG as an element for the page.

    Args:
        figure: matplotlib's.
        name: of the files.
        folder: where; made if missing.
        data: what the figure shows.
        png: write NAME.png too, at 200 dots an inch: for figures that consist of pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "lavit report"})
    svg = buffer.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Creator": "lavit report", "Producer": None})
    if png:
        figure.savefig(folder / f"{name}.png", dpi=200, metadata={"Software": None})
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", errors="replace")
    return as_element(svg, name)


def as_element(svg: str, name: str) -> str:
    """The `<svg>` alone, scalable, with ids that no other figure on the page has, its pictures as small WebP."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.S)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    # Within tags only: an arm may be called `id="x"`.
    element = re.sub(r"<[a-zA-Z][^<>]*>", lambda tag: _rename(tag.group(), name), element)
    return element.replace("<svg ", '<svg role="img" ', 1).strip()


def _rename(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
    tag = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"(?<=[ML ])-?[0-9]+\.[0-9]{3,}", lambda found: f"{float(found.group()):.2f}", tag)
    return re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", lambda found: _smaller(found.group(1)), tag)


def _smaller(png: str) -> str:
    """A picture of the SVG as a data URI, in WebP where that is smaller."""
    from PIL import Image

    raw = base64.b64decode(png)
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(raw)) as picture:
        picture.convert("RGB").save(buffer, format="WEBP", quality=85, method=4)
    kind, best = ("webp", buffer.getvalue()) if buffer.tell() < len(raw) else ("png", raw)
    return f"data:image/{kind};base64," + base64.b64encode(best).decode()
