"""The embedded world: pure, split cleanly, drawn and described truly."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world_settings import make_world, world_options

from lavit.data import Corpus, build, check, fingerprint
from lavit.data.world import World
from lavit.errors import LavitError

SPLITS = ("train", "val", "test", "held_out_combinations")


@pytest.mark.parametrize("scale", ["smoke", "quick", "standard"])
def test_every_scale_makes_a_corpus(scale: str) -> None:
    world = make_world(scale)
    assert isinstance(world, Corpus)
    assert set(world.splits()) == set(SPLITS)
    index = np.array([0, 5])
    images = world.images("train", index)
    assert images.shape == (2, world.image_size, world.image_size, 3)
    assert images.dtype == np.uint8
    assert [len(c) for c in world.captions("train", index)] == [5, 5]
    assert check(world_options(scale)).startswith("world: ")
    assert fingerprint(world_options(scale)) == ""


@settings(max_examples=25, deadline=None)
@given(
    index=st.lists(st.integers(0, 999), min_size=1, max_size=12),
    split=st.sampled_from(SPLITS),
)
def test_an_example_does_not_depend_on_its_batch(quick: World, index: list[int], split: str) -> None:
    batch = np.array(index)
    together = quick.images(split, batch), quick.captions(split, batch), quick.grounded(split, batch)
    questions = quick.questions(split, batch, 3)
    more = quick.questions(split, batch, 6)
    labels = quick.patch_labels(split, batch, 8)
    for position, one in enumerate(index):
        alone = np.array([one])
        assert np.array_equal(together[0][position], quick.images(split, alone)[0])
        assert together[1][position] == quick.captions(split, alone)[0]
        assert together[2][position] == quick.grounded(split, alone)[0]
        assert questions[position] == quick.questions(split, alone, 3)[0] == more[position][:3]
        assert np.array_equal(labels[position], quick.patch_labels(split, alone, 8)[0])


def test_remembering_scenes_changes_nothing(quick: World) -> None:
    index = np.array([7, 3, 3, 900])
    remembered, fresh = quick.scenes("train", index), quick.sampler.scenes("train", index)
    for name, value in vars(remembered).items():
        assert np.array_equal(value, getattr(fresh, name)), name


def test_noise_is_pure_too() -> None:
    world = make_world("smoke", noise=5)
    clean = make_world("smoke")
    index = np.array([4, 2])
    noisy = world.images("train", index)
    assert np.array_equal(noisy[1], world.images("train", index[1:])[0])
    change = noisy.astype(int) - clean.images("train", index)
    assert abs(change).max() == 5
    assert not np.array_equal(change[0], change[1])


def test_another_seed_is_another_world(quick: World) -> None:
    other = make_world("quick", seed=quick.seed + 1)
    index = np.arange(50)
    same = (quick.images("train", index) == other.images("train", index)).all((1, 2, 3))
    assert same.sum() <= 1


def test_splits_share_no_scene(quick: World) -> None:
    seen = {
        split: set(quick.sampler.fingerprint(quick.scenes(split, np.arange(quick.size(split)))).tolist())
        for split in SPLITS
    }
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not seen[one] & seen[other]
    assert len(seen["test"]) > 0.75 * quick.size("test")


def test_the_background_does_not_move_a_scene_to_another_split(quick: World) -> None:
    scenes = quick.scenes("train", np.arange(50))
    before = quick.sampler.fingerprint(scenes)
    recoloured = type(scenes)(**{**vars(scenes), "background_B": (scenes.background_B + 1) % 3})
    assert np.array_equal(before, quick.sampler.fingerprint(recoloured))


@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_held_out_combinations_are_held_out(scale: str) -> None:
    world = make_world(scale)
    held_out = {tuple(pair) for pair in world_options(scale)["held_out_combinations"]}
    assert held_out
    for split in SPLITS:
        for scene in world.truth(split, np.arange(400)):
            shown = {(o.colour, o.shape) for o in scene.objects} & held_out
            assert bool(shown) == (split == "held_out_combinations")
    questions = [q for row in world.questions("train", np.arange(400), 5) for q in row]
    for colour, shape in held_out:
        assert not any(f"{colour} {shape}" in q.text for q in questions)


@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_objects_stay_apart_and_inside(scale: str) -> None:
    world = make_world(scale)
    side = dict(zip(world.palette.sizes, world.palette.side, strict=True))
    least, most = world.sampler.objects
    count = Counter()
    for scene in world.truth("train", np.arange(1500)):
        count[len(scene.objects)] += 1
        places = [(o.y, o.x) for o in scene.objects]
        assert places == sorted(places)
        for position, a in enumerate(scene.objects):
            assert side[a.size] / 2 <= min(a.x, a.y)
            assert max(a.x, a.y) <= world.image_size - side[a.size] / 2
            for b in scene.objects[:position]:
                assert max(abs(a.x - b.x), abs(a.y - b.y)) >= (side[a.size] + side[b.size]) / 2 + 1
    assert set(count) == set(range(least, most + 1))
    assert max(count.values()) < 1.4 * min(count.values())


def test_objects_straddle_patch_borders(quick: World) -> None:
    side = dict(zip(quick.palette.sizes, quick.palette.side, strict=True))
    straddles = [
        any((c - side[o.size] / 2) // 8 != (c + side[o.size] / 2 - 1) // 8 for c in (o.x, o.y))
        for scene in quick.truth("train", np.arange(1000))
        for o in scene.objects
    ]
    assert 0.3 < np.mean(straddles) < 0.8
    wild = make_world("smoke", aligned=0.0)
    tame = make_world("smoke", aligned=1.0)
    share = [
        np.mean([(o.x % 8 != 4) or (o.y % 8 != 4) for s in w.truth("train", np.arange(300)) for o in s.objects])
        for w in (wild, tame)
    ]
    assert share[0] > 0.6
    assert share[1] < 0.05


@pytest.mark.parametrize("scale", ["quick", "standard"])
def test_texts_are_plain_short_and_silent_about_the_background(scale: str) -> None:
    world = make_world(scale)
    index = np.arange(600)
    texts = [c for row in world.captions("train", index) for c in row]
    assert max(len(t.split()) for t in texts) <= (30 if scale == "quick" else 40)
    texts += world.prompts("train", index) + world.documents("train", index)
    for description, questions in world.grounded("train", index):
        texts += [description, *(q.text for q in questions)]
    for row in world.questions("train", index, 6):
        texts += [part for q in row for part in (q.text, q.answer)]
    words = set(re.findall(r"[^ ]+", " ".join(texts).replace(",", " ").replace("?", " ").replace(":", " ")))
    assert all(re.fullmatch(r"[a-z]+", word) for word in words)
    assert len(words) < 80
    assert not words & {*world.palette.backgrounds, "background", "grey"}


def test_captions_and_prompts_say_what_is_there(quick: World) -> None:
    index = np.arange(300)
    numbers = ["zero", "one", "two", "three", "four", "five", "six"]
    truth = quick.truth("test", index)
    for scene, captions, prompt in zip(truth, quick.captions("test", index), quick.prompts("test", index), strict=True):
        wanted = [f"{'large ' if o.size == 'large' else ''}{o.colour} {o.shape}" for o in scene.objects]
        assert prompt == ", ".join(wanted)
        assert len(set(captions)) >= 4
        for caption in captions:
            found: Counter[str] = Counter()
            body = caption.split(": ")[-1]
            phrase = r"(?:(a|an|two|three|four|five|six) )?((?:large )?(?:red|green|blue|yellow) \w+)"
            for number, item in re.findall(phrase, body):
                plural = number not in ("", "a", "an")
                found[item[:-1] if plural else item] += numbers.index(number) if plural else 1
            assert found == Counter(wanted), caption
            assert ("there is" in caption) <= ("there is a" in caption)


def test_labels_say_which_patch_shows_what(quick: World) -> None:
    index = np.arange(200)
    labels = quick.patch_labels("train", index, 8)
    names = quick.label_names()
    assert labels.shape == (200, 16, len(names)) == (200, 16, 24)
    assert labels.dtype == np.float32
    occupied = quick.object_patches("train", index, 8)
    assert occupied.shape == (200, 16)
    assert not (labels.any(-1) & ~occupied).any()
    images = quick.images("train", index)
    ground = quick.palette.background_rgb.astype(np.uint8)[quick.scenes("train", index).background_B]
    drawn = (images != ground[:, None, None, :]).any(-1)
    patches = drawn.reshape(200, 4, 8, 4, 8).any((2, 4)).reshape(200, 16)
    assert np.array_equal(occupied & patches, occupied)
    assert (patches & ~occupied).mean() < 0.01
    for row, scene in zip(labels, quick.truth("train", index), strict=True):
        shown = {names[i] for i in np.flatnonzero(row.any(0))}
        assert shown == {f"{o.size} {o.colour} {o.shape}" for o in scene.objects}
    complexity = quick.complexity("train", index)
    assert complexity["objects"].tolist() == [len(s.objects) for s in quick.truth("train", index)]
    assert np.abs(complexity["area"] - drawn.mean((1, 2))).max() < 0.08
    with pytest.raises(ValueError, match="do not tile"):
        quick.patch_labels("train", index, 7)


def test_indices_outside_and_unknown_splits_are_refused(quick: World) -> None:
    with pytest.raises(IndexError, match="outside split 'val'"):
        quick.images("val", np.array([quick.size("val")]))
    with pytest.raises(LavitError, match="no split 'dev'"):
        quick.size("dev")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shapes": ["circle", "blob"]}, "no shape 'blob'"),
        ({"objects": [0, 3]}, "data.objects"),
        ({"objects": [3, 11]}, "data.objects"),
        ({"colours": {"red": [300, 0, 0]}}, "data.colours.red"),
        ({"colours": {}}, "data.colours is empty"),
        (
            {"backgrounds": {"black": [0, 0, 0], "white": [255, 255, 255], "mid": [127, 127, 127]}},
            "mean of black, white",
        ),
        ({"backgrounds": {"red": [0, 0, 0]}}, "name of a colour"),
        ({"held_out_combinations": [["pink", "circle"]]}, "no colour 'pink'"),
        (
            {"held_out_combinations": [["red", s] for s in ("circle", "square", "triangle")]},
            "every combination",
        ),
        ({"image_size": 4}, "holds no object"),
        ({"sizes": {"large": 8, "small": 6}}, "small to large"),
        ({"examples": {"train": 4, "val": 4}}, "no 'test'"),
        ({"captions_per_image": 99}, "captions_per_image"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(LavitError, match=message):
        build(world_options("smoke", **changes))
