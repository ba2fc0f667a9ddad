"""What the world is made of: colours, shapes, sizes, backgrounds; checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lavit.errors import LavitError

SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring")

# An averaged background must be told from every real one: the least distance in RGB between the mean of any
# two or more backgrounds and each single one.
BACKGROUND_MARGIN = 60.0


@dataclass(frozen=True)
class Palette:
    """The classes of objects and the backgrounds.

    Attributes:
        colours: names of the objects' colours, with ``colour_rgb`` [colours, 3].
        shapes: names out of ``SHAPES``.
        sizes: names, smallest first, with their side lengths in pixels ``side``.
        backgrounds: names (never in any text), with ``background_rgb`` [backgrounds, 3].
        held_out: (colour, shape) numbers that only the split ``held_out_combinations`` shows.
        allowed: the other (colour, shape) numbers [A, 2].
    """

    colours: tuple[str, ...]
    colour_rgb: NDArray[np.float32]
    shapes: tuple[str, ...]
    sizes: tuple[str, ...]
    side: tuple[int, ...]
    backgrounds: tuple[str, ...]
    background_rgb: NDArray[np.float32]
    held_out: NDArray[np.int64]
    allowed: NDArray[np.int64]

    @property
    def stamp(self) -> int:
        """Side of the square window, in pixels, that holds any object."""
        return max(self.side) + max(self.side) % 2

    @property
    def classes(self) -> int:
        """Number of (colour, shape, size) classes."""
        return len(self.colours) * len(self.shapes) * len(self.sizes)

    @classmethod
    def create(
        cls,
        colours: Mapping[str, Sequence[int]],
        shapes: Sequence[str],
        sizes: Mapping[str, int],
        backgrounds: Mapping[str, Sequence[int]],
        held_out_combinations: Sequence[Sequence[str]],
    ) -> Palette:
        """Check the settings of ``conf/data/world.yaml`` and number them.

        Raises:
            LavitError: naming the setting that cannot be.
        """
        for shape in shapes:
            if shape not in SHAPES:
                raise LavitError(f"data.shapes: there is no shape {shape!r}.", f"Known shapes: {', '.join(SHAPES)}.")
        for label, entries in (("data.colours", colours), ("data.backgrounds", backgrounds)):
            if not entries:
                raise LavitError(f"{label} is empty.", "Name at least one, with its [red, green, blue] in 0..255.")
            for name, rgb in entries.items():
                if len(rgb) != 3 or not all(0 <= value <= 255 for value in rgb):
                    raise LavitError(f"{label}.{name}: {list(rgb)} is no colour.", "Give [red, green, blue] in 0..255.")
        named = {*colours, *shapes, *sizes}
        for name in backgrounds:
            if name in named:
                raise LavitError(
                    f"data.backgrounds.{name}: a background has the name of a colour, shape or size.",
                    "Rename it: no text may name a background.",
                )
        if not sizes or list(sizes.values()) != sorted(sizes.values()) or min(sizes.values()) < 3:
            raise LavitError(
                f"data.sizes: {dict(sizes)} will not do.", "Give sizes from small to large, at least 3 px."
            )
        held_out = np.array(
            [
                [_position(colours, pair[0], "colour"), _position(shapes, pair[1], "shape")]
                for pair in held_out_combinations
            ],
            dtype=np.int64,
        ).reshape(-1, 2)
        banned = {(int(c), int(s)) for c, s in held_out}
        allowed = np.array(
            [[c, s] for c in range(len(colours)) for s in range(len(shapes)) if (c, s) not in banned],
            dtype=np.int64,
        ).reshape(-1, 2)
        if len(set(allowed[:, 0].tolist())) < len(colours) or len(set(allowed[:, 1].tolist())) < len(shapes):
            raise LavitError(
                "data.held_out_combinations holds out every combination of some colour or shape.",
                "Leave each colour and each shape at least one combination to be learned from.",
            )
        background_rgb = np.array(list(backgrounds.values()), dtype=np.float32)
        _check_backgrounds(tuple(backgrounds), background_rgb)
        return cls(
            colours=tuple(colours),
            colour_rgb=np.array(list(colours.values()), dtype=np.float32),
            shapes=tuple(shapes),
            sizes=tuple(sizes),
            side=tuple(int(side) for side in sizes.values()),
            backgrounds=tuple(backgrounds),
            background_rgb=background_rgb,
            held_out=held_out,
            allowed=allowed,
        )


def _position(names: Mapping[str, object] | Sequence[str], name: str, what: str) -> int:
    known = list(names)
    if name not in known:
        raise LavitError(
            f"data.held_out_combinations: there is no {what} {name!r}.", f"Known {what}s: {', '.join(known)}."
        )
    return known.index(name)


def _check_backgrounds(names: tuple[str, ...], rgb: NDArray[np.float32]) -> None:
    for count in range(2, len(names) + 1):
        for members in combinations(range(len(names)), count):
            mean = rgb[list(members)].mean(0)
            distance = np.linalg.norm(rgb - mean, axis=1)
            nearest = int(distance.argmin())
            if distance[nearest] < BACKGROUND_MARGIN:
                raise LavitError(
                    f"data.backgrounds: the mean of {', '.join(names[m] for m in members)} is only "
                    f"{distance[nearest]:.0f} from {names[nearest]}.",
                    "An averaged background could not be told from a real one: "
                    f"keep them {BACKGROUND_MARGIN:.0f} apart.",
                )
