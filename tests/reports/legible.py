"""What a reader would find wrong with a drawn figure: text that is cut off, tiny, or over other text."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from matplotlib.text import Text

from reports.figures.style import SMALLEST, TALLEST, TEXT_WIDTH

EDGE = 2.0  # pixels at 100 dots an inch


def faults(figure: Any) -> list[str]:
    """Sentences, one a fault."""
    renderer = figure.canvas.get_renderer()
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, to: Any) -> None:
        drawn.append(text)
        draw(text, to)

    with patch.object(Text, "draw", record):  # of a figure's texts some belong to ticks beyond its limits
        figure.draw(renderer)
    found = []
    wide, tall = figure.get_size_inches()
    if wide > TEXT_WIDTH + 0.55 or tall > TALLEST + 0.6:
        found.append(f"{wide:.1f} x {tall:.1f} inches")
    page = figure.bbox
    boxes = []
    for text in dict.fromkeys(drawn):
        if not text.get_visible() or not text.get_text().strip():
            continue
        if text.get_fontsize() < SMALLEST:
            found.append(f"{text.get_text()!r} is {text.get_fontsize()} points")
        box = text.get_window_extent(renderer)
        if box.x0 < page.x0 - EDGE or box.y0 < page.y0 - EDGE or box.x1 > page.x1 + EDGE or box.y1 > page.y1 + EDGE:
            found.append(f"{text.get_text()!r} is cut off")
        if not text.get_rotation():
            boxes.append((text.get_text(), box))
    for i, (one, a) in enumerate(boxes):
        for other, b in boxes[:i]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            up = min(a.y1, b.y1) - max(a.y0, b.y0)
            if across > EDGE and up > 0.35 * min(a.height, b.height):
                found.append(f"{one!r} over {other!r}")
    return found
