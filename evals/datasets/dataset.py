"""Base of the evaluation sets: a folder under ``data.root`` in the publishers' own layout, checked on opening.

Shapes: B images, H height, W width.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from evals.errors import EvaluationError
from lavit.data.protocol import Images, Index, Question, SceneJudge


class Dataset(ABC):
    """One evaluation set; implements :class:`lavit.data.protocol.Examples`.

    Opening reads and checks every annotation file of the split, and that each picture is there; pictures are decoded
    when they are asked for.

    Args:
        root: the folder of all datasets (``data.root``); this one's is ``root / folder``.
        split: the split that will be asked for.
        image_size: side in pixels at which images are given.

    Raises:
        EvaluationError: a file is missing, cut off or contradicts itself: names file, line or id, and what to do.
    """

    name: str
    title: ClassVar[str]
    folder: ClassVar[str]
    page: ClassVar[str]  # where its publishers offer it for download
    layout: ClassVar[str]  # the files below root / folder, one a line, with what they are
    known_splits: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path, split: str, image_size: int):
        self.root, self.split, self.image_size = root / self.folder, split, image_size
        if split not in self.known_splits:
            raise EvaluationError(f"{self.title} has no split {split!r}.", f"It has {', '.join(self.known_splits)}.")
        if not self.root.is_dir():
            raise EvaluationError(
                f"{self.title}: there is no folder {self.root}.",
                f"Download it from {self.page} and lay it out as\n{self.layout}\nor name another data.root.",
            )
        self.read()
        self._check_pictures()

    # What every dataset defines

    @classmethod
    @abstractmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The annotation files of a split, relative to the dataset's folder: what its fingerprint is made of."""

    @abstractmethod
    def read(self) -> None:
        """Read and check the annotation files of ``self.split``."""

    @abstractmethod
    def size(self, split: str) -> int:
        """Number of images."""

    @abstractmethod
    def image_id(self, index: int) -> str:
        """The image's own id, fit for a file name; the cluster of its examples."""

    @abstractmethod
    def image_path(self, index: int) -> Path | None:
        """Where the picture is; None in a set of texts alone."""

    # What some define

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """Reference captions of each image."""
        raise EvaluationError(f"{self.title} has no captions.")

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The text to draw an image from."""
        raise EvaluationError(f"{self.title} has no text-to-image prompts.")

    def questions(self, split: str, index_B: Index, per_image: int) -> list[list[Question]]:
        """At most ``per_image`` questions an image."""
        raise EvaluationError(f"{self.title} has no questions.")

    # What is the same for all

    @classmethod
    def fingerprint(cls, root: Path, split: str) -> str:
        """A hash over the bytes of the split's annotation files: another file, another result."""
        digest = hashlib.sha256()
        for name in cls.annotation_files(split):
            path = root / cls.folder / name
            digest.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"missing"))
        return digest.hexdigest()

    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.known_splits)

    def scene_judge(self) -> SceneJudge | None:
        """Photographs cannot be read back exactly."""
        return None

    def describe(self) -> str:
        """One line for the report."""
        return f"{self.title}, {self.split}: {self.size(self.split)} images"

    def images(self, split: str, index_B: Index) -> Images:
        """uint8 [B, H, W, 3], squashed to a square without regard to its shape (as LaVIT does), bicubic."""
        side = self.image_size
        images = np.empty((len(index_B), side, side, 3), np.uint8)
        for row, index in enumerate(index_B):
            images[row] = self._picture(int(index))
        return images

    def _picture(self, index: int) -> Images:
        path = self.image_path(index)
        if path is None:
            raise EvaluationError(f"{self.title} has no picture for example {self.image_id(index)}.")
        try:
            with Image.open(path) as picture:
                squashed = picture.convert("RGB").resize((self.image_size,) * 2, Image.Resampling.BICUBIC)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise EvaluationError(f"{path} is not an image that can be read: {error}.", "Download it again.") from error
        return np.asarray(squashed)

    def _check_pictures(self) -> None:
        """Refuse a set whose pictures are not all there, naming the first and saying how many."""
        paths = [path for index in range(self.size(self.split)) if (path := self.image_path(index)) is not None]
        present: dict[Path, set[str]] = {}
        for folder in {path.parent for path in paths}:
            present[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        missing = [path for path in paths if path.name not in present[path.parent]]
        if missing:
            raise EvaluationError(
                f"{self.title}: {missing[0]} is missing, and {len(missing) - 1} more of {len(paths)} pictures."
                if len(missing) > 1
                else f"{self.title}: the picture {missing[0]} is missing.",
                f"Download it from {self.page}; the layout is\n{self.layout}",
            )
