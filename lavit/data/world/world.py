"""The embedded world: scenes drawn and described by this project, as a corpus
(``lavit.data.protocol.Corpus``).

Shapes: B images, S slots, N patches in raster order, L classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lavit.data.protocol import Images, Index, Question, Scene, SceneObject
from lavit.data.world import captions as text
from lavit.data.world import counter
from lavit.data.world.drawing import Painter
from lavit.data.world.judge import Judge
from lavit.data.world.palette import Palette
from lavit.data.world.questions import Examiner
from lavit.data.world.scenes import HELD_OUT, Layout, SceneBatch, SceneSampler
from lavit.errors import LavitError

_CAPTION, _DOCUMENT = 0, 1

# Splits of up to this many examples are laid out once and remembered (class numbers only, not images).
_REMEMBERED = 200_000


class World:
    """Coloured shapes on a background that no text names.

    Args:
        seed: decides everything; another seed is another world of the same kind.
        image_size: side in pixels.
        examples: number of examples of each split.
        colours, backgrounds: name to [red, green, blue]; shapes: names; sizes: name to pixels, small to
            large.
        objects: fewest and most objects of a scene.
        lattice: centres stand on multiples of this many pixels, so that objects straddle larger patches.
        block, aligned: ``aligned`` of the objects prefer the centre of a block of ``block`` pixels.
        gap: least number of empty pixels between two objects' boxes.
        noise: greatest pixel noise in grey levels.
        name_sizes: whether texts tell the large from the small (only sizes beyond the smallest are said).
        close_relations: whether relations are asked within one third of the picture too.
        held_out_combinations: [colour, shape] pairs that only the split of that name shows.
        captions_per_image: references an image, at most the number of phrasings.
        label_coverage: a patch shows an object if it covers this share of the patch.
        name: the corpus in reports.

    Raises:
        LavitError: a setting that cannot be.
    """

    channels = 3

    def __init__(
        self,
        *,
        seed: int,
        image_size: int,
        examples: Mapping[str, int],
        colours: Mapping[str, Sequence[int]],
        shapes: Sequence[str],
        sizes: Mapping[str, int],
        backgrounds: Mapping[str, Sequence[int]],
        objects: Sequence[int],
        lattice: int = 4,
        block: int = 8,
        aligned: float = 0.0,
        gap: int = 1,
        noise: int = 0,
        name_sizes: bool = True,
        close_relations: bool = False,
        held_out_combinations: Sequence[Sequence[str]] = (),
        captions_per_image: int = 5,
        label_coverage: float = 0.05,
        name: str = "world",
    ):
        least, most = objects
        if not 1 <= least <= most < len(text.NUMBERS):
            raise LavitError(f"data.objects={list(objects)} will not do.", "Give fewest and most, from 1 to 10.")
        if not 1 <= captions_per_image <= len(text.TEMPLATES):
            raise LavitError(
                f"data.captions_per_image={captions_per_image} will not do.",
                f"Give 1 to {len(text.TEMPLATES)}.",
            )
        self.name, self.seed, self.image_size, self.examples = name, seed, image_size, dict(examples)
        for split in ("train", "val", "test"):
            if split not in self.examples:
                raise LavitError(f"data.examples has no {split!r}.", "Give the number of train, val and test examples.")
        self.palette = Palette.create(colours, shapes, sizes, backgrounds, held_out_combinations)
        self.layout = Layout(image_size, lattice, block, gap, self.palette)
        self.sampler = SceneSampler(self.palette, self.layout, (least, most), aligned, seed)
        self.painter = Painter(self.palette, self.layout, image_size, noise)
        self.name_sizes, self.captions_per_image = name_sizes, captions_per_image
        self.label_coverage, self.noise = label_coverage, noise
        self._scenes: dict[str, SceneBatch] = {}
        self.examiner = Examiner(self.palette, (least, most), name_sizes, close_relations, seed, self._calibration)

    # Splits

    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.examples)

    def size(self, split: str) -> int:
        """Number of examples in ``split``."""
        if split not in self.examples:
            raise LavitError(f"The world has no split {split!r}.", f"Splits: {', '.join(self.examples)}.")
        return int(self.examples[split])

    def scenes(self, split: str, index_B: Index) -> SceneBatch:
        """The scenes at ``index_B``, as class numbers.

        Raises:
            IndexError: an index outside the split.
        """
        index_B = np.asarray(index_B, dtype=np.int64).reshape(-1)
        size = self.size(split)
        if len(index_B) and (index_B.min() < 0 or index_B.max() >= size):
            raise IndexError(f"index {index_B.min()}..{index_B.max()} outside split {split!r} of {size}")
        if size > _REMEMBERED:
            return self.sampler.scenes(split, index_B)
        if split not in self._scenes:
            self._scenes[split] = self.sampler.scenes(split, np.arange(size))
        return self._scenes[split].take(index_B)

    # Pictures

    def images(self, split: str, index_B: Index) -> Images:
        """uint8 [B, H, W, 3]."""
        return self.painter.draw(self.scenes(split, index_B), counter.keys(self.seed, f"{split}/noise", index_B))

    def patch_labels(self, split: str, index_B: Index, patch: int) -> NDArray[np.float32]:
        """Multi-hot [B, N, L] of (colour, shape, size) classes; see ``label_names``."""
        return self.painter.labels(self.scenes(split, index_B), patch, self.label_coverage)

    def label_names(self) -> list[str]:
        """The L classes of ``patch_labels``: ``small red circle``, …"""
        palette = self.palette
        return [f"{z} {c} {h}" for c in palette.colours for h in palette.shapes for z in palette.sizes]

    def object_patches(self, split: str, index_B: Index, patch: int) -> NDArray[np.bool_]:
        """[B, N]: patches that show at least half a pixel of an object."""
        return self.painter.occupied(self.scenes(split, index_B), patch, 0.5 / patch**2)

    def complexity(self, split: str, index_B: Index) -> dict[str, NDArray[np.float64]]:
        """``objects``: how many; ``area``: the share of the image that they cover."""
        scenes = self.scenes(split, index_B)
        return {"objects": scenes.count_B.astype(np.float64), "area": self.painter.area(scenes)}

    # Texts

    def items(self, scenes: SceneBatch) -> list[list[text.Item]]:
        """The objects of each scene as texts see them, in raster order."""
        palette, layout = self.palette, self.layout
        middle = self.image_size / 2
        row_P = np.sign(layout.y_P - middle).astype(int).tolist()
        column_P = np.sign(layout.x_P - middle).astype(int).tolist()
        x_P, y_P = layout.x_P.tolist(), layout.y_P.tolist()
        said = ["", *palette.sizes[1:]] if self.name_sizes else [""] * len(palette.sizes)
        result = []
        parts = (scenes.size_BS, scenes.colour_BS, scenes.shape_BS, scenes.place_BS)
        for n, *slots in zip(scenes.count_B.tolist(), *(part.tolist() for part in parts), strict=True):
            result.append(
                [
                    text.Item(said[z], palette.colours[c], palette.shapes[h], row_P[p], column_P[p], x_P[p], y_P[p])
                    for z, c, h, p in zip(*(slot[:n] for slot in slots), strict=True)
                ]
            )
        return result

    def _items(self, split: str, index_B: Index) -> list[list[text.Item]]:
        return self.items(self.scenes(split, index_B))

    def _calibration(self, held_out: bool) -> list[list[text.Item]]:
        """Scenes that stand for a split, on which the examiner balances its questions."""
        index = np.arange(3000)
        return self.items(self.sampler.scenes(HELD_OUT if held_out else "train", index))

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """``captions_per_image`` references an image, in different phrasings."""
        key = counter.keys(self.seed, f"{split}/text", index_B)
        first = counter.integer(key, _CAPTION, len(text.TEMPLATES)).tolist()
        items = self._items(split, index_B)
        return [text.captions(i, f, self.captions_per_image) for i, f in zip(items, first, strict=True)]

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """``red circle, large blue square``: every object in raster order, neither places nor background."""
        return [text.terse(items) for items in self._items(split, index_B)]

    def questions(self, split: str, index_B: Index, per_image: int) -> list[list[Question]]:
        """``per_image`` questions an image, or as many as it allows; kinds evenly spread."""
        return self.examiner.ask(split, index_B, self._items(split, index_B), per_image)

    def documents(self, split: str, index_B: Index) -> list[str]:
        """A caption or a description for each index."""
        key = counter.keys(self.seed, f"{split}/text", index_B)
        choice = counter.integer(key, _DOCUMENT, len(text.TEMPLATES) * 2).tolist()
        return [
            text.TEMPLATES[c](items) if c < len(text.TEMPLATES) else text.description(items)
            for items, c in zip(self._items(split, index_B), choice, strict=True)
        ]

    def grounded(self, split: str, index_B: Index, per_image: int = 4) -> list[tuple[str, list[Question]]]:
        """A description with every object's place, and ``per_image`` questions that it answers."""
        items = self._items(split, index_B)
        asked = self.examiner.ask(split, index_B, items, per_image, grounded=True)
        return [(text.description(i), questions) for i, questions in zip(items, asked, strict=True)]

    # Judging

    def truth(self, split: str, index_B: Index) -> list[Scene]:
        """The scenes that were drawn, by name."""
        palette, layout = self.palette, self.layout
        scenes = self.scenes(split, index_B)
        result = []
        for b in range(len(scenes)):
            objects = tuple(
                SceneObject(
                    palette.colours[scenes.colour_BS[b, s]],
                    palette.shapes[scenes.shape_BS[b, s]],
                    palette.sizes[scenes.size_BS[b, s]],
                    float(layout.x_P[scenes.place_BS[b, s]]),
                    float(layout.y_P[scenes.place_BS[b, s]]),
                )
                for s in range(scenes.count_B[b])
            )
            result.append(Scene(objects, palette.backgrounds[scenes.background_B[b]]))
        return result

    def scene_judge(self) -> Judge:
        """The exact judge of this world's scenes."""
        return Judge(self.palette, self.layout, self.image_size, self.name_sizes, self.truth)

    def describe(self) -> str:
        """One line for the report."""
        palette = self.palette
        least, most = self.sampler.objects
        held_out = ", ".join(f"{palette.colours[c]} {palette.shapes[s]}" for c, s in palette.held_out) or "none"
        return (
            f"{self.name}: {self.image_size} px, {len(palette.colours)} colours x "
            f"{len(palette.shapes)} shapes x {len(palette.sizes)} sizes, {least} to {most} objects, "
            f"{len(palette.backgrounds)} unnamed backgrounds, "
            f"noise {self.noise}, held out: {held_out}; seed {self.seed}"
        )
