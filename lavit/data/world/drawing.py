"""From scenes to pixels, whole batches at once, and which patch shows a part of what.

Shapes: B images, S slots, P places, N patches in raster order, L classes, Z sizes, M objects of a whole
batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lavit.data.world import counter
from lavit.data.world.palette import Palette
from lavit.data.world.scenes import Layout, SceneBatch
from lavit.data.world.stamps import all_coverages, coverage

_CHUNK = 512
_NOISE = 1 << 20


class Painter:
    """Draws scenes.

    No two objects' bounding boxes meet, so all objects of a size are pasted in one assignment.

    Args:
        palette: what the classes look like.
        layout: where the places are.
        image_size: side of the image in pixels.
        noise: greatest change of a channel by pixel noise, in grey levels; 0 for none.
    """

    def __init__(self, palette: Palette, layout: Layout, image_size: int, noise: int):
        self.palette, self.layout, self.image_size, self.noise = palette, layout, image_size, noise
        self._stamps = [self._colour(side) for side in palette.side]
        self.coverage_ZHWW = all_coverages(palette.shapes, palette.side, palette.stamp)
        self.area_ZH = self.coverage_ZHWW.sum((2, 3))

    def _colour(self, side: int) -> NDArray[np.uint8]:
        """Every object of a size on every background: [backgrounds, shapes, colours, side, side * 3]."""
        palette = self.palette
        window = side + side % 2
        alpha = np.stack([coverage(shape, side, window) for shape in palette.shapes])[None, :, None, :, :, None]
        ground = palette.background_rgb[:, None, None, None, None, :]
        colour = palette.colour_rgb[None, None, :, None, None, :]
        blend = np.rint(ground + alpha * (colour - ground)).astype(np.uint8)
        return blend.reshape(*blend.shape[:3], window, window * 3)

    def draw(self, scenes: SceneBatch, noise_key_B: counter.Keys) -> NDArray[np.uint8]:
        """uint8 images [B, H, W, 3]; ``noise_key_B`` decides the noise of each."""
        images = np.empty((len(scenes), self.image_size, self.image_size, 3), dtype=np.uint8)
        for start in range(0, len(scenes), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._draw(scenes, part, images[part])
            if self.noise:
                self._add_noise(noise_key_B[part], images[part])
        return images

    def _draw(self, scenes: SceneBatch, part: slice, images: NDArray[np.uint8]) -> None:
        background_B, place_BS, size_BS = (
            scenes.background_B[part],
            scenes.place_BS[part],
            scenes.size_BS[part],
        )
        images[:] = self.palette.background_rgb.astype(np.uint8)[background_B][:, None, None, :]
        row = self.image_size * 3
        flat = images.reshape(-1)
        for size, stamps in enumerate(self._stamps):
            window = stamps.shape[3]
            b_M, s_M = np.nonzero((size_BS == size) & (place_BS >= 0))
            place_M = place_BS[b_M, s_M]
            top_M = self.layout.y_P[place_M] - window // 2
            left_M = self.layout.x_P[place_M] - window // 2
            first_M = (b_M * self.image_size + top_M) * row + left_M * 3
            offset = np.arange(window)[:, None] * row + np.arange(window * 3)[None, :]
            shape_M, colour_M = scenes.shape_BS[part][b_M, s_M], scenes.colour_BS[part][b_M, s_M]
            flat[first_M[:, None, None] + offset] = stamps[background_B[b_M], shape_M, colour_M]

    def _add_noise(self, key_B: counter.Keys, images: NDArray[np.uint8]) -> None:
        values = images[0].size
        field = np.arange(_NOISE, _NOISE + values, dtype=np.uint64)
        draw = counter.fold(key_B[:, None], field[None, :]) >> np.uint64(48)
        change = (draw.astype(np.int32) * (2 * self.noise + 1) >> 16) - self.noise
        noisy = images.reshape(len(images), -1).astype(np.int32) + change
        images[:] = np.clip(noisy, 0, 255).astype(np.uint8).reshape(images.shape)

    @lru_cache(maxsize=8)  # noqa: B019 - a painter lives as long as its world
    def coverage_ZHPN(self, patch: int) -> NDArray[np.float32]:
        """Share of each patch that a size and shape covers from a place: [sizes, shapes, P, N]."""
        side, window = self.image_size, self.palette.stamp
        if side % patch:
            raise ValueError(f"patches of {patch} px do not tile an image of {side} px")
        across = side // patch
        sizes, shapes = self.coverage_ZHWW.shape[:2]
        result = np.zeros((sizes, shapes, len(self.layout), across * across), dtype=np.float32)
        for place, (x, y) in enumerate(zip(self.layout.x_P, self.layout.y_P, strict=True)):
            canvas = np.zeros((sizes, shapes, side, side), dtype=np.float32)
            top, left = y - window // 2, x - window // 2
            canvas[:, :, top : top + window, left : left + window] = self.coverage_ZHWW
            blocks = canvas.reshape(sizes, shapes, across, patch, across, patch).mean((3, 5))
            result[:, :, place] = blocks.reshape(sizes, shapes, -1)
        return result

    def labels(self, scenes: SceneBatch, patch: int, least: float) -> NDArray[np.float32]:
        """Multi-hot [B, N, L]: 1 where an object of the class covers at least ``least`` of the patch.

        Class number: (colour * shapes + shape) * sizes + size.
        """
        table = self.coverage_ZHPN(patch)
        palette = self.palette
        result = np.zeros((len(scenes), table.shape[-1], palette.classes), dtype=np.float32)
        b_M, s_M = np.nonzero(scenes.place_BS >= 0)
        size_M, shape_M, colour_M = (
            scenes.size_BS[b_M, s_M],
            scenes.shape_BS[b_M, s_M],
            scenes.colour_BS[b_M, s_M],
        )
        class_M = (colour_M * len(palette.shapes) + shape_M) * len(palette.sizes) + size_M
        shown_MN = table[size_M, shape_M, scenes.place_BS[b_M, s_M]] >= least
        m, patch_number = np.nonzero(shown_MN)
        result[b_M[m], patch_number, class_M[m]] = 1.0
        return result

    def occupied(self, scenes: SceneBatch, patch: int, least: float) -> NDArray[np.bool_]:
        """[B, N]: patches of which some object covers at least ``least``."""
        occupied: NDArray[np.bool_] = self.labels(scenes, patch, least).max(axis=-1) > 0
        return occupied

    def area(self, scenes: SceneBatch) -> NDArray[np.float64]:
        """Share of each image [B] that its objects cover."""
        area_BS = self.area_ZH[scenes.size_BS, scenes.shape_BS] * (scenes.place_BS >= 0)
        return area_BS.sum(1).astype(np.float64) / self.image_size**2
