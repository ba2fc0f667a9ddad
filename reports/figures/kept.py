"""Kept-token maps: which patches of an image become tokens, arm by arm."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.labels import short_names
from reports.figures.style import SMALL, TALLEST, TEXT_WIDTH, Figure, drawing, save
from reports.figures.tokenised import group_name, keep_maps, same, share_kept, tokenizer_records
from reports.frame import Frame
from reports.render.numbers import plain
from reports.results import Results

NAME = "kept"
COLUMNS = 7
MOST = 8  # rows of different maps
PIXELS = 96  # of a tile's side, or the next multiple of its patches
LEFT = 1.45  # inches for the names
VEIL = 0.9  # how much of the grey covers a patch that no seed keeps
GREY = np.array([186, 186, 186])
SUFFIXES = (".png", ".webp", ".jpg")


@dataclass(frozen=True)
class Maps:
    """The maps of the chosen images.

    groups: arms with equal maps in every image together. shares: (arm, image) -> share of its seeds that keep a patch.
    whole: arms that keep every patch of every image; untold: arms with tokens but without a map.
    """

    images: tuple[str, ...]
    pictures: dict[str, Path]
    groups: list[list[str]]
    shares: dict[tuple[str, str], np.ndarray]
    whole: list[str]
    untold: list[str]
    pool: int


def choose_maps(frame: Frame) -> Maps | None:
    """Images at even ranks of the number of tokens kept (mean over arms and seeds); None where no record has a map."""
    every = tokenizer_records(frame)
    rows = keep_maps(every)
    if rows.empty:
        return None
    whole = ~rows["kept"].str.contains("0").groupby(rows["arm"], sort=False).any()
    wholes = [arm for arm in frame.arms if whole.get(arm, False)]
    chosen = rows[~rows["arm"].isin(wholes)]
    if chosen.empty:
        return None
    shared = chosen.groupby("example_id")["arm"].nunique()
    chosen = chosen[chosen["example_id"].isin(shared[shared == shared.max()].index)]
    once = chosen.drop_duplicates("example_id")
    clusters = dict(zip(once["example_id"], once["cluster_id"], strict=True))
    pictures = {image: path for image in clusters if (path := _picture(frame, image, clusters[image])) is not None}
    pool = sorted(pictures or clusters)
    tokens = chosen["kept"].str.count("1").groupby(chosen["example_id"]).mean()
    ranked = sorted(pool, key=lambda image: (tokens[image], image))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(COLUMNS, len(ranked))).round().astype(int))
    images = tuple(ranked[i] for i in places)
    few = chosen[chosen["example_id"].isin(images)]
    shares = {
        (str(arm), str(image)): share_kept(own) for (arm, image), own in few.groupby(["arm", "example_id"], sort=False)
    }
    without = set(every["arm"].unique()) - set(rows["arm"].unique())
    untold = [arm for arm in frame.arms if arm in without]
    return Maps(images, pictures, same(chosen, "kept", frame.arms), shares, wholes, untold, len(pool))


def _picture(frame: Frame, image: str, cluster: str) -> Path | None:
    """The picture of an evaluated image; None where it was not kept, or where its id is no file name."""
    names = [name for name in (f"tokenizer--{cluster}", image, cluster) if "/" not in name and "\0" not in name]
    tries = (frame.folder / "images" / f"{name}{suffix}" for name in names for suffix in SUFFIXES)
    return next((path for path in tries if len(path.name) < 200 and path.is_file()), None)


def draw_kept(results: Results, folder: Path) -> Figure | None:
    """A row of tiles for each distinct map; None where no record tells which patches were kept."""
    maps = choose_maps(results.frame)
    if maps is None:
        return None
    names = short_names(results.frame.arms, 22)
    groups = maps.groups[:MOST]
    lines: list[list[str] | None] = [None, *groups] if maps.pictures else [*groups]
    tile = min((TEXT_WIDTH - LEFT) / len(maps.images), 0.95, (TALLEST - 0.3) / len(lines) - 0.13)
    with drawing(NAME) as pyplot:
        height = len(lines) * (tile + 0.13) + 0.08
        figure = pyplot.figure(figsize=(LEFT + len(maps.images) * tile, height))
        width = LEFT + len(maps.images) * tile
        for r, group in enumerate(lines):
            bottom = 1 - (r * (tile + 0.13) + tile) / height
            for c, image in enumerate(maps.images):
                place = ((LEFT + c * tile) / width, bottom, (tile - 0.04) / width, (tile - 0.04) / height)
                axis = figure.add_axes(place)
                _tile(axis, maps, group, image)
            text = "image" if group is None else "\n".join(textwrap.wrap(group_name(group, names, 42), 23))
            middle = bottom + tile / 2 / height
            figure.text((LEFT - 0.06) / width, middle, text, ha="right", va="center", fontsize=SMALL)
        table = _data(maps, results.frame)
        svg = save(figure, NAME, folder, table, png=True)
    alt = "; ".join(
        f"{', '.join(group)}: {_mean_kept(maps, group):.1f} of {next(iter(maps.shares.values())).size} patches kept"
        for group in groups
    )
    return Figure(NAME, "Which patches become tokens", _caption(maps, results.frame, len(groups)), alt, svg, table)


def _tile(axis: Any, maps: Maps, group: list[str] | None, image: str) -> None:
    """One picture, the patches that were dropped under a veil, the kept ones outlined, their number below."""
    axis.set_axis_off()
    share = None if group is None else maps.shares.get((group[0], image))
    if group is not None and share is None:
        return
    side = 1 if share is None else share.shape[0]
    size = side * math.ceil(PIXELS / side)
    ground = np.full((size, size, 3), 255.0)
    if image in maps.pictures:
        from PIL import Image

        with Image.open(maps.pictures[image]) as picture:
            ground = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.NEAREST), float)
    if share is not None:
        veil = np.kron(VEIL * (1 - share), np.ones((size // side, size // side)))[:, :, None]
        ground = ground * (1 - veil) + GREY * veil
    span = (0, side, side, 0)
    axis.imshow(ground.round().astype(np.uint8), interpolation="nearest", extent=span, rasterized=True)
    if share is None:
        return
    edges = outline(share >= 0.5)
    if edges:
        gap = (math.nan, math.nan)
        along = np.array([point for start, end in edges for point in (start, end, gap)])  # one path, pen up at a gap
        axis.plot(along[:, 0], along[:, 1], color="#D55E00", linewidth=0.8, solid_capstyle="projecting", clip_on=False)
    said = f"{share.sum():.0f}" if np.isin(share, (0, 1)).all() else f"{share.sum():.1f}"
    axis.text(0.5, -0.02, said, transform=axis.transAxes, ha="center", va="top", fontsize=SMALL)


def outline(kept: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Edges ((x, y), (x, y)) between kept patches and what is not kept, in patches from the upper left."""
    around = np.pad(kept.astype(int), 1)
    found = []
    for y, x in zip(*np.nonzero(np.diff(around, axis=0)), strict=True):
        found.append(((int(x) - 1, int(y)), (int(x), int(y))))
    for y, x in zip(*np.nonzero(np.diff(around, axis=1)), strict=True):
        found.append(((int(x), int(y) - 1), (int(x), int(y))))
    return found


def _mean_kept(maps: Maps, group: list[str]) -> float:
    found = [maps.shares[(group[0], image)].sum() for image in maps.images if (group[0], image) in maps.shares]
    return float(np.mean(found)) if found else math.nan


def _data(maps: Maps, frame: Frame) -> pd.DataFrame:
    """arm, image, row, col, share: one row a patch, of every arm that has a map."""
    parts = []
    for arm in frame.arms:
        for image in maps.images:
            if (share := maps.shares.get((arm, image))) is not None:
                row, col = np.indices(share.shape)
                told = {"row": row.ravel(), "col": col.ravel(), "share": share.ravel()}
                parts.append(pd.DataFrame({"arm": arm, "image": image, **told}))
    return pd.concat(parts, ignore_index=True)


def _caption(maps: Maps, frame: Frame, shown: int) -> str:
    seeds = max(len(frame.done(arm)) for group in maps.groups for arm in group)
    text = (
        f"Patches that became tokens: outlined (in at least half of {seeds} seeds); under grey: dropped, the denser "
        "the grey the more seeds drop it. Below: patches kept, mean over seeds. "
        if seeds > 1
        else "Patches that became tokens: outlined; under grey: dropped. Below: patches kept. One seed. "
    )
    text += (
        f"The {len(maps.images)} images stand at even ranks of the number of patches kept (mean over arms and seeds) "
        f"among {maps.pool}{' with pictures' if maps.pictures else '; their pictures were not kept'}."
    )
    if any(len(group) > 1 for group in maps.groups):
        text += " Arms whose maps are equal in every image share a row."
    if len(maps.groups) > shown:
        text += f" The first {shown} of {len(maps.groups)} different rows; all in the data."
    if maps.whole:
        text += f" Not shown, since they keep every patch: {plain('; '.join(maps.whole), 300)}."
    if maps.untold:
        text += f" Without a map, since they choose no patches: {plain('; '.join(maps.untold), 300)}."
    return text
