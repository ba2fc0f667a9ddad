"""A corpus of coloured quadrants and three models that know all, nothing, or only text: for tests of
evals."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np

from lavit.data.protocol import Question, Scene, SceneObject

COLOURS = {"red": (220, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 230)}
BACKGROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255)}
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of each quadrant, raster order


class TinyCorpus:
    """8 px images of four quadrants, each empty or coloured; every scene once, in a mixed order."""

    name, image_size, channels = "tiny", 8, 3

    def __init__(self, size: int = 100, exact: bool = True):
        self._size, self._exact = size, exact
        scenes = [s for s in itertools.product(("", *COLOURS), repeat=4) if any(s)]
        order = np.random.default_rng(1).permutation(len(scenes))
        self._scenes = [scenes[place] for place in order]

    def splits(self):
        return ["train", "val", "test"]

    def size(self, split):
        return self._size

    def describe(self):
        return f"tiny corpus of {self._size}"

    def truth(self, split, index_B):
        def scene(index):
            objects = [
                SceneObject(colour, "square", "small", 4 * column + 2.0, 4 * row + 2.0)
                for colour, (row, column) in zip(self._scenes[index], _PLACES, strict=True)
                if colour
            ]
            return Scene(tuple(objects), list(BACKGROUNDS)[index % 2])

        return [scene(int(index)) for index in index_B]

    def images(self, split, index_B):
        return paint(self.truth(split, index_B))

    def captions(self, split, index_B):
        return [[caption(s), f"there is {phrase(s)}."] for s in self.truth(split, index_B)]

    def prompts(self, split, index_B):
        return [phrase(scene) for scene in self.truth(split, index_B)]

    def questions(self, split, index_B, per_image):
        rows = []
        for index, scene in zip(index_B, self.truth(split, index_B), strict=True):
            asked = [("count", "how many squares are there?")]
            asked += [("existence", f"is there a {colour} square?") for colour in COLOURS]
            rows.append(
                [
                    Question(f"{split}-{index}-{kind}-{j}", kind, text, answer(scene, text), (answer(scene, text),))
                    for j, (kind, text) in enumerate(asked[:per_image])
                ]
            )
        return rows

    def object_patches(self, split, index_B, patch):
        if not self._exact:
            return None
        assert patch == 4
        return np.array([[bool(colour) for colour in self._scenes[index]] for index in index_B])

    def patch_labels(self, split, index_B, patch):
        assert self._exact and patch == 4
        return np.array([[[c == colour for colour in COLOURS] for c in self._scenes[index]] for index in index_B], "f4")

    def complexity(self, split, index_B):
        if not self._exact:
            return {}
        return {"objects": np.array([float(sum(map(bool, self._scenes[index]))) for index in index_B])}

    def scene_judge(self):
        return TinyJudge(self) if self._exact else None


class TinyJudge:
    """Reads the middle of each quadrant and the corner."""

    def __init__(self, corpus):
        self.truth = corpus.truth

    def read(self, images):
        return [read(image) for image in images]

    def score(self, truth, seen):
        a, b = ([item.colour for item in scene.objects] for scene in (truth, seen))
        shared = sum(min(a.count(colour), b.count(colour)) for colour in COLOURS)
        return {"objects": 2 * shared / max(len(a) + len(b), 1), "exact": float(sorted(a) == sorted(b))}

    def background(self, images):
        return {"committed": np.array([float(scene.background is not None) for scene in self.read(images)])}


def read(image):
    objects = []
    for row, column in _PLACES:
        for colour, rgb in COLOURS.items():
            if tuple(image[4 * row + 2, 4 * column + 2]) == rgb:
                objects.append(SceneObject(colour, "square", "small", 4 * column + 2.0, 4 * row + 2.0))
    found = [name for name, rgb in BACKGROUNDS.items() if tuple(image[0, 0]) == rgb]
    return Scene(tuple(objects), found[0] if found else None)


def paint(scenes):
    images = np.zeros((len(scenes), 8, 8, 3), np.uint8)
    for image, scene in zip(images, scenes, strict=True):
        image[:] = BACKGROUNDS[scene.background]
        for item in scene.objects:
            x, y = int(item.x), int(item.y)
            image[y - 1 : y + 2, x - 1 : x + 2] = COLOURS[item.colour]
    return images


def phrase(scene):
    return " and ".join(f"a {item.colour} square" for item in scene.objects)


def caption(scene):
    return f"A picture of {phrase(scene)}."


def answer(scene, question):
    if question.startswith("how many"):
        return str(len(scene.objects))
    colour = question.split()[3]
    return "yes" if any(item.colour == colour for item in scene.objects) else "no"


class Visual:
    """Scenes read from pixels: all that a model of the tests remembers of an image."""

    def __init__(self, scenes):
        self.scenes = scenes
        self.tokens_B = np.array([len(scene.objects) for scene in scenes])

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, index):
        return Visual([self.scenes[place] for place in index])


class Oracle:
    """Knows everything that is in the pixels; says the same of nothing."""

    makes_images = True

    def __init__(self):
        self.calls = 0
        self.fail_after = None

    def _count(self):
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise RuntimeError("the power went out")

    def encode(self, images):
        return Visual([read(image) for image in images])

    def caption(self, visual, count, settings=None):
        self._count()
        if visual is None:
            return ["a picture of a red square"] * count
        return [caption(scene) for scene in visual.scenes]

    def answer(self, visual, questions, settings=None):
        self._count()
        if visual is None:
            return ["2" if question.startswith("how") else "yes" for question in questions]
        return [answer(scene, question) for scene, question in zip(visual.scenes, questions, strict=True)]

    def draw(self, prompts, seed, settings):
        self._count()
        scenes = []
        for prompt in prompts:
            colours = [part.split()[1] for part in prompt.split(" and ")]
            objects = [
                SceneObject(colour, "square", "small", 4 * column + 2.0, 4 * row + 2.0)
                for colour, (row, column) in zip(colours, _PLACES, strict=False)
            ]
            scenes.append(Scene(tuple(objects), "black"))
        return self._drawing(paint(scenes))

    def reconstruct(self, images):
        self._count()
        return self._drawing(images)

    def features(self, images):
        return images.reshape(len(images), 2, 4, 2, 4, 3).swapaxes(2, 3).reshape(len(images), 4, -1) / 255.0 + 0.5

    def tokenizer_report(self, images):
        self._count()
        scenes = [read(image) for image in images]
        codes = [np.array([list(COLOURS).index(item.colour) for item in scene.objects]) for scene in scenes]
        kept = np.array([len(row) for row in codes])
        return {"cosine": np.full((len(images), 4), 0.9), "kept": kept, "codes": codes}

    def _drawing(self, images):
        tokens = np.array([len(read(image).objects) for image in images])
        return SimpleNamespace(images=images, tokens=tokens, features=self.features(images))


class Blind(Oracle):
    """Looks at nothing: every image and every prompt is the same to it; an adapter, so it draws nothing."""

    makes_images = False

    def encode(self, images):
        return Visual([Scene((), "black")] * len(images))

    def caption(self, visual, count, settings=None):
        return super().caption(None, count)

    def answer(self, visual, questions, settings=None):
        return super().answer(None, questions)


class Averaging(Oracle):
    """Draws the same grey field whatever is asked."""

    def draw(self, prompts, seed, settings):
        return self._drawing(np.full((len(prompts), 8, 8, 3), 127, np.uint8))
