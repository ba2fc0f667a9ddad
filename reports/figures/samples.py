"""The sample grid: what each arm drew for the same prompts, beside the ground truth."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reports.figures.style import TEXT_WIDTH, Figure, drawing, save
from reports.frame import Frame
from reports.render.numbers import plain

NAME = "samples"
COLUMNS = 8


@dataclass(frozen=True)
class Grid:
    """Pictures of the same prompts by every arm that draws.

    `truth` and `drawn[arm]` map an example to the picture's file; `score[arm]` to its score where there is
    one.
    """

    seed: int
    examples: tuple[str, ...]
    prompts: dict[str, str]
    truth: dict[str, Path]
    drawn: dict[str, dict[str, Path]]
    score: dict[str, dict[str, float]]
    available: int
    ceiling: dict[str, Path]

    def lines(self) -> list[tuple[str, dict[str, Path]]]:
        """(name of a row, its pictures): the truth, what could be drawn at best, then the arms."""
        best = [("reconstruction", self.ceiling)] if self.ceiling else []
        return [("ground truth", self.truth), *best, *self.drawn.items()]


def find_pictures(frame: Frame, arm: str, seed: int, benchmark: str = "t2i") -> tuple[dict[str, Path], dict[str, Path]]:
    """(example -> drawn picture, example -> true picture) that an arm's run left behind."""
    if arm not in frame.slugs:
        return {}, {}
    folder = frame.folder / "samples" / frame.slugs[arm] / f"s{seed}"
    return _pictures(folder, f"{benchmark}-"), _pictures(folder, "truth-")


def _pictures(folder: Path, prefix: str) -> dict[str, Path]:
    return {p.stem.removeprefix(prefix): p for p in sorted(folder.glob(f"{prefix}*.png"))}


def choose_samples(frame: Frame) -> Grid | None:
    """Examples at random (fixed seed) among those that every drawing arm has a picture of, or None."""
    drawn: dict[str, dict[str, Path]] = {}
    truth: dict[str, Path] = {}
    seeds = [s for s in frame.seeds if any(find_pictures(frame, a, s)[0] for a in frame.arms)]
    if not seeds:
        return None
    for arm in frame.arms:
        own, true = find_pictures(frame, arm, seeds[0])
        if own:
            drawn[arm] = own
            truth |= true
    shared = set.intersection(*(set(own) for own in drawn.values())) & (set(truth) or set(next(iter(drawn.values()))))
    if not shared:
        return None
    folder = frame.folder / "samples" / frame.slugs[next(iter(drawn))] / f"s{seeds[0]}"
    ceiling = _pictures(folder, "ceiling-")
    picked = random.Random(0).sample(sorted(shared), min(COLUMNS, len(shared)))
    picked.sort(key=lambda e: (len(e), e))
    rows = frame.records
    rows = rows[(rows["control"] == "") & (rows["seed"] == seeds[0]) & rows["example_id"].isin(picked)]
    rows = rows[rows["arm"].isin(drawn)]
    if "t2i" in set(rows["benchmark"]):
        rows = rows[rows["benchmark"] == "t2i"]
    prompts = dict(zip(rows["example_id"], rows["prompt"], strict=True))
    score = {str(arm): dict(zip(g["example_id"], g["score"], strict=True)) for arm, g in rows.groupby("arm")}
    return Grid(seeds[0], tuple(picked), prompts, truth, drawn, score, len(shared), ceiling)


def draw_samples(grid: Grid, folder: Path) -> Figure:
    """The grid as a figure for a paper: a row for the truth and one for each arm."""
    from PIL import Image

    size, gap = 96, 6
    lines = grid.lines()
    sheet = np.full((len(lines) * (size + gap), len(grid.examples) * (size + gap), 3), 255, np.uint8)
    data = []
    for r, (arm, pictures) in enumerate(lines):
        for c, example in enumerate(grid.examples):
            score = grid.score.get(arm, {}).get(example)
            data.append({"row": arm, "example_id": example, "prompt": grid.prompts.get(example, ""), "score": score})
            if example in pictures:
                with Image.open(pictures[example]) as picture:
                    tile = picture.convert("RGB").resize((size, size), Image.Resampling.NEAREST)
                top, left = r * (size + gap), c * (size + gap)
                sheet[top : top + size, left : left + size] = np.asarray(tile)
    table = pd.DataFrame(data)
    with drawing(NAME) as pyplot:
        width = TEXT_WIDTH - 1.4
        figure = pyplot.figure(figsize=(TEXT_WIDTH, width * sheet.shape[0] / sheet.shape[1] + 0.05))
        axis = figure.add_axes((1.4 / TEXT_WIDTH, 0, width / TEXT_WIDTH, 1))
        axis.imshow(sheet, interpolation="nearest")
        axis.set_axis_off()
        for r, (arm, _) in enumerate(lines):
            axis.text(-8, r * (size + gap) + size / 2, plain(arm, 26), ha="right", va="center", fontsize=7)
        svg = save(figure, NAME, folder, table)
    return Figure(NAME, "Samples", "", "", svg, table)
