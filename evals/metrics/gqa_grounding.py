"""GQA's grounding: how much attention lies on what question and answer refer to (Hudson & Manning 2019, 4.4).

Shapes: S cells a side of an attention map.
"""

from __future__ import annotations

from collections.abc import Sequence

NAME = "gqa-grounding-1"
"""Version of this rule, part of an evaluation's fingerprint."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the image's width and height."""


def grounding(attention_SS: Sequence[Sequence[float]], regions: Sequence[Box]) -> float:
    """Attention of each cell times the share of the cell inside a region, summed over cells and regions.

    A cell that two regions share counts twice, as in the official code, so that more than 1 is possible.

    Args:
        attention_SS: the map, row i being the i-th *column* of the image: the official code reads it so.
        regions: of the objects.
    """
    edge = 1 / len(attention_SS)
    total = 0.0
    for i, row in enumerate(attention_SS):
        for j, attention in enumerate(row):
            cell = (edge * i, edge * j, edge * (i + 1), edge * (j + 1))
            total += attention * sum(_overlap(cell, region) for region in regions)
    return total


def _overlap(cell: Box, region: Box) -> float:
    """Share of the cell's area that is in the region."""
    width = min(cell[2], region[2]) - max(cell[0], region[0])
    height = min(cell[3], region[3]) - max(cell[1], region[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((cell[2] - cell[0]) * (cell[3] - cell[1]))
