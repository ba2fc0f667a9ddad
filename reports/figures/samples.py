"""The sample grid: what each arm drew for the same prompts, beside the ground truth."""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reports.figures.labels import short_names
from reports.figures.style import SMALL, SMALLEST, TALLEST, TEXT_WIDTH, Figure, drawing, save
from reports.frame import Frame
from reports.render.numbers import plain

NAME = "samples"
COLUMNS = 8
TILE = 0.8  # inches that a picture takes at most
LEFT = 1.45  # inches for the names
DRAWING = "t2i"


@dataclass(frozen=True)
class Grid:
    """Pictures of the same prompts by every arm that draws, or of the same images after every arm's tokenizer.

    `truth` and `drawn[arm]` map an example to the picture's file; `score[arm]` to its score where it is right or wrong.
    """

    seed: int
    examples: tuple[str, ...]
    prompts: dict[str, str]
    truth: dict[str, Path]
    drawn: dict[str, dict[str, Path]]
    score: dict[str, dict[str, float]]
    available: int
    ceiling: dict[str, Path]
    benchmark: str = DRAWING

    @property
    def drawing(self) -> bool:
        """Whether arms drew from prompts; else they gave images back."""
        return self.benchmark.startswith(DRAWING)

    @property
    def title(self) -> str:
        """What is shown, in a line."""
        if self.drawing:
            return "what each arm drew for the same prompts, beside the truth"
        return "the same images after each arm's tokenizer, painted by the pixel decoder, beside the true ones"

    @property
    def rule(self) -> str:
        """How the examples were chosen, and what their marks and rows mean."""
        what = "prompts" if self.drawing else "images"
        text = f"{len(self.examples)} {what} drawn at random (fixed seed) from the {self.available} that every "
        text += "drawing arm" if self.drawing else "arm"
        text += " kept pictures of."
        if self.score:
            text += " ✓ ✗: scored right or wrong."
        if self.ceiling and self.drawing:
            text += " Reconstruction: the real image through tokenizer and pixel decoder, the best that could be drawn."
        elif self.ceiling:
            text += " True features: painted without a tokenizer in between, the best that could be had."
        return text

    def lines(self) -> list[tuple[str, dict[str, Path]]]:
        """(name of a row, its pictures): the truth, what could be drawn at best, then the arms."""
        name = "reconstruction" if self.drawing else "true features"
        best = [(name, self.ceiling)] if self.ceiling else []
        return [("ground truth", self.truth), *best, *self.drawn.items()]


def find_pictures(
    frame: Frame, arm: str, seed: int, benchmark: str = DRAWING
) -> tuple[dict[str, Path], dict[str, Path]]:
    """(example -> drawn picture, example -> true picture) that an arm's run left behind."""
    if arm not in frame.slugs:
        return {}, {}
    folder = frame.folder / "samples" / frame.slugs[arm] / f"s{seed}"
    return _pictures(folder, f"{benchmark}-"), _pictures(folder, "truth-")


def _pictures(folder: Path, prefix: str) -> dict[str, Path]:
    found = folder.glob("*.png") if folder.is_dir() else ()  # the prefix is foreign text: no pattern may be made of it
    return {p.stem.removeprefix(prefix): p for p in sorted(found) if p.name.startswith(prefix)}


def choose_samples(frame: Frame) -> Grid | None:
    """Examples at random (fixed seed) among those that every drawing arm has a picture of, or None."""
    drawn: dict[str, dict[str, Path]] = {}
    truth: dict[str, Path] = {}
    others = sorted(set(frame.records["benchmark"]) - {DRAWING})
    pictured = (
        (b, s)
        for b in (DRAWING, *others)
        for s in frame.seeds
        if any(find_pictures(frame, a, s, b)[0] for a in frame.arms)
    )
    benchmark, seed = next(pictured, (None, 0))
    if benchmark is None:
        return None
    for arm in frame.arms:
        own, true = find_pictures(frame, arm, seed, benchmark)
        if own:
            drawn[arm] = own
            truth |= true
    shared = set.intersection(*(set(own) for own in drawn.values())) & (set(truth) or set(next(iter(drawn.values()))))
    if not shared:
        return None
    folder = frame.folder / "samples" / frame.slugs[next(iter(drawn))] / f"s{seed}"
    ceiling = _pictures(folder, "ceiling-")
    picked = random.Random(0).sample(sorted(shared), min(COLUMNS, len(shared)))
    picked.sort(key=lambda e: (len(e), e))
    rows = frame.records
    rows = rows[(rows["control"] == "") & (rows["seed"] == seed) & rows["example_id"].isin(picked)]
    rows = rows[rows["arm"].isin(drawn) & (rows["benchmark"] == benchmark)]
    prompts = {str(e): str(p) for e, p in zip(rows["example_id"], rows["prompt"], strict=True) if p}
    score: dict[str, dict[str, float]] = {}
    if benchmark.startswith(DRAWING):
        score = {str(arm): dict(zip(g["example_id"], g["score"], strict=True)) for arm, g in rows.groupby("arm")}
    return Grid(seed, tuple(picked), prompts, truth, drawn, score, len(shared), ceiling, benchmark)


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
    names = short_names([name for name, _ in lines], 24)
    with drawing(NAME) as pyplot:
        across = min(TILE, (TEXT_WIDTH - LEFT) / len(grid.examples), (TALLEST - 0.6) / len(lines))
        heads = [_head(grid.prompts.get(example, ""), round(across / 0.05)) for example in grid.examples]
        head = 0.1 * max(text.count("\n") + 1 for text in heads) + 0.12 if any(heads) else 0.03
        pictures_wide, tall = across * len(grid.examples), across * len(lines)
        width = LEFT + pictures_wide
        figure = pyplot.figure(figsize=(width, tall + head))
        axis = figure.add_axes((LEFT / width, 0, pictures_wide / width, tall / (tall + head)))
        axis.imshow(sheet, interpolation="nearest")
        axis.set_axis_off()
        for r, (arm, _) in enumerate(lines):
            at = r * (size + gap) + size / 2
            axis.text(-8, at, names[arm], ha="right", va="center", fontsize=SMALL)
        for c, text in enumerate(heads):
            at = c * (size + gap) + size / 2
            axis.text(at, -8, text, ha="center", va="bottom", fontsize=SMALLEST, linespacing=1.0)
        svg = save(figure, NAME, folder, table, png=True)
    alt = f"{grid.title}, rows: " + ", ".join(name for name, _ in lines)
    return Figure(NAME, "Samples", f"Seed {grid.seed}; {grid.rule}", alt, svg, table)


def _head(prompt: str, letters: int) -> str:
    """A prompt over its column: at most five short lines."""
    wrapped = textwrap.wrap(plain(prompt, 200), max(5, letters), max_lines=5, placeholder="…", break_long_words=True)
    return "\n".join(wrapped)
