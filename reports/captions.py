"""Sentences of captions: over how many seeds a table averages, how it corrects, in which units it prints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from reports.results import Results
from reports.table import Cell, Column

BEST = "Best bold, second underlined."
BEST_GROUP = (
    "Bold: best, and every {row} not told from it (Holm over the column); underlined: second, where told apart."
)


def most_seeds(results: Results) -> int:
    """The seeds of the arm that has most."""
    return max((len(results.frame.done(arm)) for arm in results.frame.arms), default=0)


def means_over(results: Results, cells: Iterable[Cell]) -> str:
    """`Mean over 3 seeds, ± SD between seeds.`"""
    seeds = {len(results.frame.done(arm)) for arm in results.frame.arms} - {0}
    many = f"{max(seeds)} seeds" if max(seeds, default=0) > 1 else "one seed"
    if len(seeds) > 1:
        many = f"{min(seeds)} to {max(seeds)} seeds"
    spread = any(cell.spread is not None for cell in cells)
    return f"Mean over {many}{', ± SD between seeds' if spread else ''}."


def corrected(families: Collection[str], size: int) -> str:
    """After which correction a difference is called significant."""
    exploratory, holm = "Benjamini-Hochberg (exploratory)", f"Holm over {size} arms"
    if len(families) > 1:
        return f"{holm}, in parts and slices after {exploratory}"
    return exploratory if "exploratory" in families else holm


def scaled(columns: Sequence[Column]) -> list[str]:
    """What is printed times 100; nothing where nothing is."""
    if not any(c.scale == 100 for c in columns):
        return []
    cider = any(c.scale == 100 and "CIDEr" in c.key for c in columns)
    return ["Accuracies and CIDEr × 100." if cider else "Accuracies and shares × 100."]
