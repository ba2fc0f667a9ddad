"""The exact judge: reads drawn scenes back from pixels, also from pixels that a model made.

Every object that could stand at every place of the lattice is tried: how much of the image's squared
difference from its background does it explain? The best is taken, all that would overlap it are struck out,
and so on. On a clean image the true object explains all of the difference under it. Each object is tried
sharp and blurred, because a pixel decoder's soft square is nearest to a sharp circle, and yet it is a square.

Shapes: B images, P places, W window side, T templates (size x shape x blur), C colours, Z sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lavit.data.protocol import Images, Index, Scene, SceneObject
from lavit.data.world.palette import Palette
from lavit.data.world.scenes import Layout
from lavit.data.world.stamps import all_coverages

_CHUNK = 256

# An object is seen where it explains at least this share of what it would explain in a clean image.
LEAST_EXPLAINED = 0.3
# What is under an object (where it covers this share of a pixel) and not explained by it counts against it,
# so much: else an object between two others, part of both, may explain more than either.
SUPPORT = 0.1
UNEXPLAINED = 0.4
# Widths of the Gaussians, in pixels, with which templates are blurred.
BLURS = (0.0, 0.6, 0.9, 1.3)
_MARGIN = 2
# A pixel shows a background if it is no further from it in RGB; a background is committed to if this share of
# the pixels shows it.
TOLERANCE = 40.0
COMMITTED_SHARE = 0.8


def blur(pictures: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Convolve [..., W, W] with a Gaussian of standard deviation ``width`` pixels; 0 leaves it as it is."""
    if width == 0:
        return pictures
    line = np.arange(pictures.shape[-1])
    kernel = np.exp(-((line[:, None] - line[None, :]) ** 2) / (2 * width**2))
    middle = kernel[len(line) // 2].sum()
    kernel = (kernel / middle).astype(np.float32)
    blurred: NDArray[np.float32] = kernel @ pictures @ kernel.T
    return blurred


class Judge:
    """``lavit.data.protocol.SceneJudge`` of a world.

    Args:
        palette, layout, image_size: the world's.
        name_sizes: whether prompts tell sizes apart; otherwise sizes are read but not scored.
        truth: the world's scenes by split and index.
    """

    def __init__(
        self,
        palette: Palette,
        layout: Layout,
        image_size: int,
        name_sizes: bool,
        truth: Callable[[str, Index], list[Scene]],
    ):
        self.palette, self.layout, self.image_size, self.name_sizes = palette, layout, image_size, name_sizes
        self._truth = truth
        window = palette.stamp + 2 * _MARGIN
        sharp = all_coverages(palette.shapes, palette.side, window)
        alpha = np.stack([blur(sharp, width) for width in BLURS], axis=2)
        self._alpha_TW = alpha.reshape(-1, window * window)
        self._energy_T = (self._alpha_TW**2).sum(1)
        self._support_TW = (self._alpha_TW > SUPPORT).astype(np.float32)
        # In an image with a margin on every side.
        self._top_P = layout.y_P - window // 2 + _MARGIN
        self._left_P = layout.x_P - window // 2 + _MARGIN
        # [Z, P, Z, P]: which candidates an object of a size at a place strikes out.
        self._struck = ~layout.free_ZZPP.transpose(0, 2, 1, 3)
        self._most = len(layout)

    def truth(self, split: str, index_B: Index) -> list[Scene]:
        """The scenes that were drawn."""
        return self._truth(split, index_B)

    def read(self, images: Images) -> list[Scene]:
        """The scenes that uint8 ``images`` [B, H, W, 3] show."""
        images = self._check(images)
        scenes: list[Scene] = []
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK].astype(np.float32)
            ground_B3 = self._ground(part)
            found = self._find(part, ground_B3)
            distance = np.linalg.norm(ground_B3[:, None] - self.palette.background_rgb, axis=2)
            for b, objects in enumerate(found):
                nearest = int(distance[b].argmin())
                known = distance[b, nearest] <= TOLERANCE
                scenes.append(Scene(tuple(objects), self.palette.backgrounds[nearest] if known else None))
        return scenes

    def score(self, truth: Scene, seen: Scene) -> dict[str, float]:
        """F1 (``objects``) and equality (``exact``) of the multisets of what a prompt names."""
        wanted, got = self._named(truth), self._named(seen)
        total = sum(wanted.values()) + sum(got.values())
        shared = sum((wanted & got).values())
        return {"objects": 2 * shared / total if total else 1.0, "exact": float(wanted == got)}

    def background(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """Whether each image commits to one background, judged outside the objects that are seen in it.

        Returns:
            Arrays [B]: ``committed`` 1 or 0; ``share`` of the pixels outside objects (or like a background)
            that show the background which most of them show; ``distance`` of these pixels' mean from the
            nearest background, in RGB.
        """
        images = self._check(images)
        rgb = self.palette.background_rgb
        share, distance = np.zeros(len(images)), np.zeros(len(images))
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK].astype(np.float32)
            found = self._find(part, self._ground(part))
            for b, objects in enumerate(found):
                near = (((part[b][:, :, None] - rgb) ** 2).sum(3) <= TOLERANCE**2).reshape(-1, len(rgb))
                # A second background beside the first looks like objects: it is counted nevertheless.
                counted = ~self._footprint(objects).reshape(-1) | near.any(1)
                share[start + b] = near[counted].mean(0).max()
                mean = part[b].reshape(-1, 3)[counted].mean(0)
                distance[start + b] = np.linalg.norm(mean - rgb, axis=1).min()
        return {
            "committed": (share >= COMMITTED_SHARE).astype(np.float64),
            "share": share,
            "distance": distance,
        }

    def _check(self, images: Images) -> Images:
        images = np.asarray(images)
        side = self.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            raise ValueError(f"the judge reads uint8 [B, {side}, {side}, 3], got {images.dtype} {list(images.shape)}")
        return images

    def _named(self, scene: Scene) -> Counter[tuple[str, str, str]]:
        return Counter((o.size if self.name_sizes else "", o.colour, o.shape) for o in scene.objects)

    def _ground(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Background [B, 3]: the median channel by channel, for objects never cover half of an image."""
        flat = images.reshape(len(images), -1, 3)
        middle = flat.shape[1] // 2
        return np.partition(flat, middle, axis=1)[:, middle]

    def _footprint(self, objects: list[SceneObject]) -> NDArray[np.bool_]:
        mask = np.zeros((self.image_size, self.image_size), dtype=bool)
        for seen in objects:
            half = self.palette.side[self.palette.sizes.index(seen.size)] / 2 + 1
            rows = slice(max(0, int(seen.y - half)), int(np.ceil(seen.y + half)))
            columns = slice(max(0, int(seen.x - half)), int(np.ceil(seen.x + half)))
            mask[rows, columns] = True
        return mask

    def _find(self, images: NDArray[np.float32], ground_B3: NDArray[np.float32]) -> list[list[SceneObject]]:
        palette, places = self.palette, len(self.layout)
        sizes, tints, window = len(palette.sizes), len(palette.colours), palette.stamp + 2 * _MARGIN
        batch = len(images)
        margin = (_MARGIN, _MARGIN)
        difference = np.pad(images - ground_B3[:, None, None, :], ((0, 0), margin, margin, (0, 0)))
        views = sliding_window_view(difference, (window, window), axis=(1, 2))
        windows = views[:, self._top_P, self._left_P]  # [B, P, 3, W, W]
        under = windows.reshape(batch * places * 3, -1) @ self._alpha_TW.T
        under = under.reshape(batch, places, 3, -1).transpose(0, 1, 3, 2)  # [B, P, T, 3]
        colour = palette.colour_rgb[None] - ground_B3[:, None, :]  # [B, C, 3]
        clean = self._energy_T[None, :, None] * (colour**2).sum(2)[:, None, :]  # [B, T, C]
        explained = 2 * np.matmul(under.reshape(batch, -1, 3), colour.transpose(0, 2, 1))
        explained = explained.reshape(batch, places, -1, tints) - clean[:, None]
        seen = explained >= LEAST_EXPLAINED * clean[:, None]
        energy = (windows**2).sum(2).reshape(batch * places, -1) @ self._support_TW.T
        unexplained = energy.reshape(batch, places, -1, 1) - explained
        explained = np.where(seen, explained - UNEXPLAINED * unexplained, -np.inf)
        # The best shape, blur and colour of each size at each place.
        by_size = explained.reshape(batch, places, sizes, -1)
        kind = by_size.argmax(3)
        gain = by_size.max(3).transpose(0, 2, 1)  # [B, Z, P]
        found: list[list[tuple[int, SceneObject]]] = [[] for _ in range(batch)]
        for _ in range(self._most):
            best = gain.reshape(batch, -1).argmax(1)
            size, place = np.divmod(best, places)
            alive = np.isfinite(gain.reshape(batch, -1)[np.arange(batch), best])
            if not alive.any():
                break
            for b in np.flatnonzero(alive):
                shape, tint = divmod(int(kind[b, place[b], size[b]]), len(BLURS) * tints)
                tint %= tints
                x, y = float(self.layout.x_P[place[b]]), float(self.layout.y_P[place[b]])
                thing = SceneObject(palette.colours[tint], palette.shapes[shape], palette.sizes[size[b]], x, y)
                found[b].append((int(place[b]), thing))
            gain[self._struck[size, place] & alive[:, None, None]] = -np.inf
        return [[thing for _, thing in sorted(objects, key=lambda pair: pair[0])] for objects in found]
