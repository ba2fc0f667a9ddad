"""How fast the embedded world is: images drawn, read back and described a second, on one thread.

The reference is ``one_at_a_time``: the same scenes, drawn image by image and object by object onto a canvas,
with the same cached stamps. Both draw the same pixels, which is checked first.

    python -m benchmarks.world [quick|standard|smoke]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from omegaconf import OmegaConf

from lavit.data import build
from lavit.data.world.scenes import SceneBatch
from lavit.data.world.world import World

CONF = Path(__file__).parents[1] / "conf"
IMAGES = 4000
REPEATS = 3


def make_world(scale: str) -> World:
    """The world at a scale, without noise, as the config files have it."""
    numbers = OmegaConf.load(CONF / "scale" / f"{scale}.yaml")
    root = OmegaConf.create({"scale": numbers, "data": OmegaConf.load(CONF / "data" / "world.yaml")})
    options: Any = OmegaConf.to_container(root.data, resolve=True)
    examples = {"train": IMAGES, "val": 1, "test": 1}
    world = build({**options, "noise": 0, "examples": examples})
    assert isinstance(world, World)
    return world


def one_at_a_time(world: World, scenes: SceneBatch) -> np.ndarray:
    """The reference: one image, one object after the other, alpha-blended onto a canvas of floats."""
    palette, layout, window = world.palette, world.layout, world.palette.stamp
    images = np.empty((len(scenes), world.image_size, world.image_size, 3), dtype=np.uint8)
    for b in range(len(scenes)):
        canvas = np.empty(images.shape[1:], dtype=np.float32)
        canvas[:] = palette.background_rgb[scenes.background_B[b]]
        for s in range(scenes.count_B[b]):
            alpha = world.painter.coverage_ZHWW[scenes.size_BS[b, s], scenes.shape_BS[b, s], :, :, None]
            top = layout.y_P[scenes.place_BS[b, s]] - window // 2
            left = layout.x_P[scenes.place_BS[b, s]] - window // 2
            under = canvas[top : top + window, left : left + window]
            under += alpha * (palette.colour_rgb[scenes.colour_BS[b, s]] - under)
        images[b] = np.rint(canvas)
    return images


def rate(work: Callable[[], object]) -> float:
    """Images a CPU second: the best of some repeats, after one to warm up."""
    work()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return IMAGES / min(spent)


def main(scale: str = "quick") -> None:
    """Print one line a measurement."""
    world, index = make_world(scale), np.arange(IMAGES)
    scenes = world.scenes("train", index)
    key = np.zeros(IMAGES, dtype=np.uint64)
    if not np.array_equal(one_at_a_time(world, scenes), world.painter.draw(scenes, key)):
        raise SystemExit("the reference draws other pixels")
    images = world.images("train", index)
    judge = world.scene_judge()
    drawn = rate(lambda: world.painter.draw(scenes, key))
    reference = rate(lambda: one_at_a_time(world, scenes))
    whole = rate(lambda: world.painter.draw(world.sampler.scenes("train", index), key))
    print(f"{world.describe()}\nimages per CPU second, one thread, batches of {IMAGES}:")
    ratio = f"{drawn / reference:.1f} x one_at_a_time ({reference:,.0f})"
    print(f"  draw                        {drawn:10,.0f}   {ratio}")
    print(f"  lay out anew and draw       {whole:10,.0f}   {whole / 5000:.1f} x the required 5,000")
    print(f"  read back (judge)           {rate(lambda: judge.read(images)):10,.0f}")
    print(f"  five captions each          {rate(lambda: world.captions('train', index)):10,.0f}")
    print(f"  five questions each         {rate(lambda: world.questions('train', index, 5)):10,.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
