"""What a corpus must offer: images, the texts about them, and where known what is in them.

Shapes: B images, H height, W width, N patches in raster order, L label classes.

Every method is a pure function of ``(split, index)``: an example does not depend on the batch that it is
asked for in, nor on what was asked before. Index arrays are one-dimensional integers below ``size(split)``,
in any order and with repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.integer]
Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one image.

    Attributes:
        id: unique in the corpus and stable: ``<split>-<index>-<kind>-<j>``.
        kind: what is asked for, e.g. ``colour``; scores are reported per kind.
        text: the question, plain lower-case words.
        answer: the answer to learn.
        answers: every answer that counts as right, holding ``answer``; or, where a benchmark weighs them, one for each
            person who was asked.
        tags: what else the question's own file says of it, e.g. ``question_type``.
    """

    id: str
    kind: str
    text: str
    answer: str
    answers: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A drawn object; ``x`` and ``y`` are its centre in pixels from the top left corner."""

    colour: str
    shape: str
    size: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Scene:
    """An image's objects in raster order of their centres, and its background (None: no known one)."""

    objects: tuple[SceneObject, ...]
    background: str | None


class SceneJudge(Protocol):
    """Reads scenes back from pixels and compares them with what was asked for."""

    def read(self, images: Images) -> list[Scene]:
        """The scenes that uint8 ``images`` [B, H, W, 3] show."""
        ...

    def truth(self, split: str, index_B: Index) -> list[Scene]:
        """The scenes that were drawn."""
        ...

    def score(self, truth: Scene, seen: Scene) -> dict[str, float]:
        """``objects``: F1 of the multisets of what a prompt names; ``exact``: 1 if these are equal."""
        ...

    def background(self, images: Images) -> dict[str, NDArray[np.float64]]:
        """Arrays [B], among them ``committed``: 1 for one of the known backgrounds, 0 for a mixture."""
        ...


@runtime_checkable
class Examples(Protocol):
    """What can be asked about images: all that a benchmark needs of where its examples are from."""

    name: str
    image_size: int

    def splits(self) -> list[str]:
        """Names of the splits."""
        ...

    def size(self, split: str) -> int:
        """Number of examples in ``split``."""
        ...

    def images(self, split: str, index_B: Index) -> Images:
        """uint8 [B, H, W, 3]."""
        ...

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """Reference captions of each image, at least one."""
        ...

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The text-to-image prompt of each image."""
        ...

    def questions(self, split: str, index_B: Index, per_image: int) -> list[list[Question]]:
        """At most ``per_image`` questions an image; fewer asked for are the first of more."""
        ...

    def scene_judge(self) -> SceneJudge | None:
        """The exact judge of drawn scenes; None where generation is judged in feature space."""
        ...

    def describe(self) -> str:
        """One line for the report: what its conclusions are conditional on."""
        ...


@runtime_checkable
class Corpus(Examples, Protocol):
    """Images with text to train on, cut into splits that share no scene: ``train``, ``val`` and ``test`` always."""

    channels: int

    def documents(self, split: str, index_B: Index) -> list[str]:
        """One line of text-only training text for each index."""
        ...

    def grounded(self, split: str, index_B: Index) -> list[tuple[str, list[Question]]]:
        """A description of each image, and questions that it suffices to answer."""
        ...

    def patch_labels(self, split: str, index_B: Index, patch: int) -> NDArray[np.float32] | None:
        """Multi-hot [B, N, L]: the classes that each patch shows a part of; None where unknown."""
        ...

    def object_patches(self, split: str, index_B: Index, patch: int) -> NDArray[np.bool_] | None:
        """[B, N]: the patches that show a part of an object; None where that is unknown."""
        ...

    def complexity(self, split: str, index_B: Index) -> dict[str, NDArray[np.float64]]:
        """Arrays [B] that say how much an image holds, e.g. ``objects``, ``area``; empty where unknown."""
        ...
