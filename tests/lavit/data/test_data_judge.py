"""The exact judge: reads back what was drawn, blurred and noisy too; knows a background from a mixture."""

from __future__ import annotations

import numpy as np
import pytest

from lavit.data import Scene, SceneObject
from lavit.data.world import World
from lavit.data.world.judge import blur


def soften(images: np.ndarray, width: float) -> np.ndarray:
    side = images.shape[1]
    line = np.arange(side)
    kernel = np.exp(-((line[:, None] - line[None, :]) ** 2) / (2 * width**2))
    kernel /= kernel.sum(1, keepdims=True)
    rows = np.einsum("ij,bjkc->bikc", kernel, images.astype(float), optimize=True)
    return np.rint(np.einsum("lk,bikc->bilc", kernel, rows, optimize=True)).astype(np.uint8)


def exact_share(world: World, images: np.ndarray, truth: list[Scene]) -> float:
    judge = world.scene_judge()
    return float(np.mean([judge.score(t, s)["exact"] for t, s in zip(truth, judge.read(images), strict=True)]))


@pytest.mark.parametrize("split", ["train", "held_out_combinations"])
@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_clean_scenes_are_read_without_fail(scale: str, split: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(scale)
    index = np.arange(3000 if split == "train" else 1000)
    assert world.scene_judge().read(world.images(split, index)) == world.truth(split, index)


def test_soft_and_noisy_scenes_are_read_nearly_always(quick: World) -> None:
    index = np.arange(500)
    images, truth = quick.images("test", index), quick.truth("test", index)
    assert exact_share(quick, soften(images, 0.6), truth) > 0.99
    assert exact_share(quick, soften(images, 1.0), truth) > 0.98
    noise = np.random.default_rng(0).normal(0, 15, images.shape)
    assert exact_share(quick, np.clip(images + noise, 0, 255).astype(np.uint8), truth) > 0.99


def test_wrong_pictures_score_at_chance(quick: World) -> None:
    index = np.arange(500)
    assert exact_share(quick, quick.images("test", index[::-1]), quick.truth("test", index)) < 0.03


def test_nothing_is_seen_where_there_is_nothing(quick: World) -> None:
    ground = quick.palette.background_rgb.astype(np.uint8)
    blank = np.broadcast_to(ground[:, None, None, :], (3, 32, 32, 3))
    assert quick.scene_judge().read(blank) == [Scene((), name) for name in quick.palette.backgrounds]


def test_an_averaged_background_is_not_committed(quick: World) -> None:
    index = np.arange(200)
    judge, images = quick.scene_judge(), quick.images("test", index)
    scenes = quick.scenes("test", index)
    clean = judge.background(images)
    assert clean["committed"].mean() == 1
    assert clean["distance"].max() < 5
    rgb = quick.palette.background_rgb
    ground = rgb[scenes.background_B][:, None, None, :].astype(np.uint8)
    outside = (images == ground).all(-1, keepdims=True)
    for members in ([0, 1], [0, 2], [1, 2], [0, 1, 2]):
        mixed = np.where(outside, rgb[members].mean(0).astype(np.uint8), images)
        seen = judge.background(mixed)
        assert seen["committed"].max() == 0
        assert seen["distance"].min() > 40
    # Half of each picture on one background and half on another is no commitment either.
    torn = np.where(
        outside & (np.arange(32) < 16)[None, None, :, None],
        rgb[(scenes.background_B + 1) % 3][:, None, None, :],
        images,
    )
    assert judge.background(torn.astype(np.uint8))["committed"].mean() < 0.05


def test_objects_are_read_off_an_averaged_background(quick: World) -> None:
    index = np.arange(300)
    images, scenes = quick.images("test", index), quick.scenes("test", index)
    rgb = quick.palette.background_rgb
    outside = (images == rgb[scenes.background_B][:, None, None, :].astype(np.uint8)).all(-1, keepdims=True)
    mixed = np.where(outside, rgb.mean(0).astype(np.uint8), images)
    assert exact_share(quick, mixed, quick.truth("test", index)) > 0.98
    assert all(scene.background is None for scene in quick.scene_judge().read(mixed))


def test_score_counts_as_multisets(quick: World) -> None:
    def scene(*names: str) -> Scene:
        return Scene(tuple(SceneObject(*name.split()[::-1][1::-1], name.split()[0], 4, 4) for name in names), "black")

    judge = quick.scene_judge()
    a = scene("large red circle", "small red circle")
    assert a.objects[0] == SceneObject("red", "circle", "large", 4, 4)
    assert judge.score(a, scene("small red circle", "large red circle")) == {"objects": 1.0, "exact": 1.0}
    assert judge.score(a, scene("large red circle", "large red circle")) == {"objects": 0.5, "exact": 0.0}
    assert judge.score(a, scene("large red circle")) == {"objects": pytest.approx(2 / 3), "exact": 0.0}
    assert judge.score(a, scene()) == {"objects": 0.0, "exact": 0.0}
    assert judge.score(scene(), scene()) == {"objects": 1.0, "exact": 1.0}


def test_only_images_of_the_right_kind_are_read(quick: World) -> None:
    with pytest.raises(ValueError, match="uint8"):
        quick.scene_judge().read(np.zeros((1, 32, 32, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"\[1, 16, 16, 3\]"):
        quick.scene_judge().background(np.zeros((1, 16, 16, 3), dtype=np.uint8))


def test_blur_keeps_the_mass_of_what_is_far_from_the_edge() -> None:
    picture = np.zeros((12, 12), dtype=np.float32)
    picture[5:7, 5:7] = 1
    assert blur(picture, 0.9).sum() == pytest.approx(4, rel=1e-2)
    assert blur(picture, 0) is picture
