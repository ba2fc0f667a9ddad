"""Which scene stands at an index: objects placed without overlap, scenes dealt to splits by a hash of their
content.

Shapes: B scenes, S slots (the most objects of a scene), P places (points of the lattice, in raster order), Z
sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lavit.data.world import counter
from lavit.data.world.palette import Palette
from lavit.errors import LavitError

HELD_OUT = "held_out_combinations"

# Shares of all possible scenes that belong to each split; no matter how many examples a split has. A scene
# that is drawn for one split and belongs to another is drawn again.
_SPLIT_LIMITS = {"train": (0.0, 0.5), "val": (0.5, 0.75), "test": (0.75, 1.0)}
_ATTEMPTS = 1000

# Fields of the counter: one number for each thing that is drawn.
_COUNT, _BACKGROUND, _FORCED_SLOT, _FORCED_COMBINATION, _SLOT = 0, 1, 2, 3, 16
_COMBINATION, _SIZE, _PLACE, _ALIGNED, _FIELDS_PER_SLOT = 0, 1, 2, 3, 8


@dataclass(frozen=True)
class SceneBatch:
    """Scenes as arrays: class numbers of their objects in raster order; -1 in slots that are empty."""

    count_B: NDArray[np.int64]
    background_B: NDArray[np.int64]
    colour_BS: NDArray[np.int64]
    shape_BS: NDArray[np.int64]
    size_BS: NDArray[np.int64]
    place_BS: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.count_B)

    def take(self, index_B: NDArray[np.integer]) -> SceneBatch:
        """The scenes at these positions."""
        return SceneBatch(**{name: value[index_B] for name, value in vars(self).items()})


class Layout:
    """The lattice of places, and which objects may stand beside each other.

    Args:
        image_size: side of the image in pixels.
        lattice: distance of neighbouring places in pixels.
        block: places at the centre of a block of this many pixels count as aligned.
        gap: least number of empty pixels between the bounding boxes of two objects, along x or y.
        palette: for the sizes.

    Raises:
        LavitError: the image holds no place.
    """

    def __init__(self, image_size: int, lattice: int, block: int, gap: int, palette: Palette):
        half = palette.stamp // 2
        first = -(-half // lattice) * lattice
        line = np.arange(first, image_size - half + 1, lattice)
        if len(line) == 0:
            raise LavitError(
                f"data.image_size={image_size} holds no object of {max(palette.side)} px.",
                "Make the image larger or the objects smaller.",
            )
        self.columns = len(line)
        self.x_P = np.tile(line, len(line))
        self.y_P = np.repeat(line, len(line))
        self.aligned_P = (self.x_P % block == block // 2) & (self.y_P % block == block // 2)
        side = np.array(palette.side)
        apart = np.maximum(np.abs(self.x_P[:, None] - self.x_P[None, :]), np.abs(self.y_P[:, None] - self.y_P[None, :]))
        least = (side[:, None] + side[None, :]) / 2 + gap
        # [Z, Z, P, P]: an object of the first size at the first place leaves the second size its second
        # place.
        self.free_ZZPP = apart[None, None] >= least[:, :, None, None]

    def __len__(self) -> int:
        return len(self.x_P)


class SceneSampler:
    """Scenes as a pure function of (seed, split, index).

    Args:
        palette: what there is.
        layout: where it may stand.
        objects: fewest and most objects of a scene; their number is uniform between the two. (A scene in
            which nothing more fits holds fewer.)
        aligned: share of objects for which an aligned place is preferred; the others stand anywhere on the
            lattice.
        seed: the world's seed.
    """

    def __init__(self, palette: Palette, layout: Layout, objects: tuple[int, int], aligned: float, seed: int):
        self.palette, self.layout, self.objects = palette, layout, objects
        self.aligned, self.seed = aligned, seed

    def scenes(self, split: str, index_B: NDArray[np.integer]) -> SceneBatch:
        """The scenes at ``index_B`` of ``split``; drawn again until they belong to it."""
        index_B = np.asarray(index_B)
        parts: dict[str, NDArray[np.int64]] = {}
        pending = np.arange(len(index_B))
        key = counter.keys(self.seed, split, index_B)
        for attempt in range(_ATTEMPTS):
            draft = self._draft(split, counter.fold(key[pending], attempt))
            fits = self._belongs(split, draft)
            for name, value in vars(draft).items():
                if name not in parts:
                    parts[name] = value
                parts[name][pending[fits]] = value[fits]
            pending = pending[~fits]
            if len(pending) == 0:
                return SceneBatch(**parts)
        raise LavitError(
            f"No scene for split {split!r} in {_ATTEMPTS} attempts.",
            "The world is too small: allow it more objects.",
        )

    def _draft(self, split: str, key: counter.Keys) -> SceneBatch:
        least, most = self.objects
        rows, slots = len(key), most
        held_out = split == HELD_OUT
        wanted_B = least + counter.integer(key, _COUNT, most - least + 1)
        background_B = counter.integer(key, _BACKGROUND, len(self.palette.backgrounds))
        # Slots keep their order of drawing here; a slot that finds no place stays empty.
        combination_BS2 = np.full((rows, slots, 2), -1, dtype=np.int64)
        size_BS = np.full((rows, slots), -1, dtype=np.int64)
        place_BS = np.full((rows, slots), -1, dtype=np.int64)
        choices = np.concatenate([self.palette.allowed, self.palette.held_out]) if held_out else self.palette.allowed
        free_ZBP = np.ones((len(self.palette.sizes), rows, len(self.layout)), dtype=bool)
        for slot in range(slots):
            field = _SLOT + slot * _FIELDS_PER_SLOT
            active = np.flatnonzero(wanted_B > slot)
            if len(active) == 0:
                break
            here = key[active]
            size, place = self._place(here, field, free_ZBP[:, active])
            placed = place >= 0
            active, size, place = active[placed], size[placed], place[placed]
            size_BS[active, slot], place_BS[active, slot] = size, place
            combination_BS2[active, slot] = choices[counter.integer(here[placed], field + _COMBINATION, len(choices))]
            for other in range(len(self.palette.sizes)):
                free_ZBP[other, active] &= self.layout.free_ZZPP[size, other, place]
        count_B = (place_BS >= 0).sum(1)
        if held_out and len(self.palette.held_out):
            # The first object always finds a place, and placed slots come first.
            slot_B = counter.integer(key, _FORCED_SLOT, count_B)
            forced = counter.integer(key, _FORCED_COMBINATION, len(self.palette.held_out))
            combination_BS2[np.arange(rows), slot_B] = self.palette.held_out[forced]
        order = np.argsort(np.where(place_BS < 0, len(self.layout), place_BS), axis=1, kind="stable")
        return SceneBatch(
            count_B=count_B,
            background_B=background_B,
            colour_BS=np.take_along_axis(combination_BS2[..., 0], order, 1),
            shape_BS=np.take_along_axis(combination_BS2[..., 1], order, 1),
            size_BS=np.take_along_axis(size_BS, order, 1),
            place_BS=np.take_along_axis(place_BS, order, 1),
        )

    def _place(
        self, key: counter.Keys, field: int, free_ZBP: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Size and place of one more object: smaller where the drawn one finds no room, or -1."""
        rows = np.arange(len(key))
        size = counter.integer(key, field + _SIZE, len(self.palette.sizes))
        mask_BP = free_ZBP[size, rows]
        stuck = ~mask_BP.any(1)
        while stuck.any() and (size[stuck] > 0).any():
            size = np.where(stuck & (size > 0), size - 1, size)
            mask_BP = free_ZBP[size, rows]
            stuck = ~mask_BP.any(1) & (size > 0)
        if self.aligned > 0:
            aligned_BP = mask_BP & self.layout.aligned_P
            prefer = (counter.uniform(key, field + _ALIGNED) < self.aligned) & aligned_BP.any(1)
            mask_BP = np.where(prefer[:, None], aligned_BP, mask_BP)
        rank_BP = np.cumsum(mask_BP, axis=1, dtype=np.int16)
        total = rank_BP[:, -1].astype(np.int64)
        pick = counter.integer(key, field + _PLACE, total) + 1
        place = (rank_BP < pick[:, None]).sum(1)
        return size, np.where(total > 0, place, -1)

    def _belongs(self, split: str, draft: SceneBatch) -> NDArray[np.bool_]:
        if split == HELD_OUT:
            return np.ones(len(draft), dtype=bool)
        low, high = _SPLIT_LIMITS[split]
        share = self.fingerprint(draft).astype(np.float64) * 2.0**-64
        return (share >= low) & (share < high)

    def fingerprint(self, scenes: SceneBatch) -> counter.Keys:
        """A hash [B] of each scene's objects and where they stand, the background left out.

        The same objects on another background are the same scene: they never lie on both sides of a split.
        """
        palette = self.palette
        code = scenes.place_BS
        for part, number in (
            (scenes.size_BS, len(palette.sizes)),
            (scenes.shape_BS, len(palette.shapes)),
            (scenes.colour_BS, len(palette.colours)),
        ):
            code = code * number + part
        code = np.where(scenes.place_BS < 0, 0, code + 1)
        key = np.zeros(len(scenes), dtype=np.uint64)
        for slot in range(code.shape[1]):
            key = counter.fold(key, code[:, slot].astype(np.uint64))
        return key
