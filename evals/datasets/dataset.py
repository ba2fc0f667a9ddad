"""Base of the evaluation sets: a folder under ``data.root`` in the publishers' own layout, checked on opening.

Shapes: B images, H height, W width.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from evals.datasets.reading import read_bytes
from evals.errors import EvaluationError
from lavit.data.protocol import Images, Index, Question, SceneJudge

_READERS = 4  # pictures that are decoded at once; Pillow lets others work meanwhile


class Dataset(ABC):
    """One evaluation set; implements :class:`lavit.data.protocol.Examples`.

    Opening reads and checks every annotation file of the split, and that each picture is there; pictures are decoded
    when they are asked for.

    Args:
        root: the folder of all datasets (``data.root``); this one's is ``root / folder``.
        split: the split that will be asked for.
        image_size: side in pixels at which images are given.
        all_pictures: whether each picture has to be there; not so where only a few are asked for, such as the examples
            of a few-shot prompt.

    Raises:
        EvaluationError: a file is missing, cut off or contradicts itself: names file, line or id, and what to do.
    """

    name: str
    title: ClassVar[str]
    folder: ClassVar[str]
    page: ClassVar[str]  # where its publishers offer it for download
    layout: ClassVar[str]  # the files below root / folder, one a line, with what they are
    known_splits: ClassVar[tuple[str, ...]]
    preprocessing: ClassVar[str] = "squashed to a square, bicubic"  # part of a result's fingerprint

    def __init__(self, root: Path, split: str, image_size: int, all_pictures: bool = True):
        self.root, self.split, self.image_size = root / self.folder, split, image_size
        if split not in self.known_splits:
            raise EvaluationError(f"{self.title} has no split {split!r}.", f"It has {', '.join(self.known_splits)}.")
        if lack := self.lacking(root, split):
            raise EvaluationError(f"{self.title}: {lack}", self.how_to_get())
        self.read()
        if all_pictures:
            self._check_pictures()

    @classmethod
    def lacking(cls, root: Path, split: str) -> str:
        """Which folder or annotation file of the split is not there, in a sentence; "" where all are."""
        folder = root / cls.folder
        if not root.is_dir():
            return f"data.root={root} is not a folder." if root.exists() else f"there is no folder data.root={root}."
        if not folder.is_dir():
            packed = [path.name for path in (root / f"{cls.folder}{end}" for end in _PACKED) if path.is_file()]
            if folder.is_symlink() and not folder.exists():
                return f"{folder} is a link to {os.readlink(folder)}, which is not there."
            if folder.exists():
                return f"{folder} is not a folder."
            return f"there is no folder {folder}{f', but {packed[0]}: unpack it' if packed else ''}."
        for name in cls.annotation_files(split):
            if not any(path.is_file() for path in _forms(folder / name)):
                return f"there is no file {folder / name}{_packed_in(folder)}."
        return ""

    @classmethod
    def how_to_get(cls) -> str:
        """Where the files are to be had, and how they are to lie."""
        return f"Download it from {cls.page}.\nBelow data.root it has to lie as\n{cls.layout}"

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

    def annotation(self, name: str) -> Path:
        """Where an annotation file is: below the dataset's folder, as it is or gzipped with ``.gz`` at its end."""
        return next((path for path in _forms(self.root / name) if path.is_file()), self.root / name)

    @classmethod
    def fingerprint(cls, root: Path, split: str) -> str:
        """A hash over the split's annotation files (unpacked): another file, another result."""
        digest = hashlib.sha256()
        for name in cls.annotation_files(split):
            path = next((path for path in _forms(root / cls.folder / name) if path.is_file()), None)
            digest.update(f"{name}\0{_hash(path) if path else 'missing'}\0".encode())
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
        with ThreadPoolExecutor(_READERS) as pool:
            for row, picture in enumerate(pool.map(self._picture, map(int, index_B))):
                images[row] = picture
        return images

    def _picture(self, index: int) -> Images:
        path = self.image_path(index)
        if path is None:
            raise EvaluationError(f"{self.title} has no picture for example {self.image_id(index)}.")
        try:
            with Image.open(path) as picture:
                squashed = picture.convert("RGB").resize((self.image_size,) * 2, Image.Resampling.BICUBIC)
        except FileNotFoundError:
            raise EvaluationError(f"{self.title}: the picture {path} is missing.", self.how_to_get()) from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise EvaluationError(f"{path} is not an image that can be read: {error}.", "Download it again.") from error
        return np.asarray(squashed)

    def _check_pictures(self) -> None:
        """Refuse a set whose pictures are not all there, naming the first and saying how many.

        Folders are listed once each: asking for every file by itself takes minutes on a network disk.
        """
        paths = [os.fspath(path) for i in range(self.size(self.split)) if (path := self.image_path(i)) is not None]
        parents = [os.path.dirname(path) for path in paths]
        present = {parent: set(os.listdir(parent)) if os.path.isdir(parent) else None for parent in set(parents)}
        missing = [
            path
            for path, parent in zip(paths, parents, strict=True)
            if (names := present[parent]) is None or os.path.basename(path) not in names
        ]
        if not missing:
            return
        absent = Counter(parent for parent in parents if present[parent] is None)
        if absent:
            folder, count = absent.most_common(1)[0]
            problem = f"there is no folder {folder}, in which {count} of {len(paths)} pictures lie{_packed_in(folder)}."
        elif len(missing) == 1:
            problem = f"the picture {missing[0]} is missing."
        else:
            problem = f"{missing[0]} is missing, and {len(missing) - 1} more of {len(paths)} pictures."
        raise EvaluationError(f"{self.title}: {problem}", self.how_to_get())


_PACKED = (".zip", ".tar", ".tar.gz", ".tgz")


def _forms(path: Path) -> tuple[Path, Path]:
    """A file as it is, and gzipped."""
    return path, path.with_name(f"{path.name}.gz")


def _packed_in(folder: str | Path) -> str:
    """What to unpack, if what is missing may lie in an archive in this folder, or in the one that holds it."""
    for place in (Path(folder), Path(folder).parent):
        archives = sorted(path.name for path in place.glob("*") if path.name.endswith(_PACKED))
        if archives:
            return f" ({place} has {', '.join(archives[:3])}: unpack what is in there)"
    return ""


_hashes: dict[tuple[str, int, int], str] = {}


def _hash(path: Path) -> str:
    """Of a file's unpacked bytes; remembered as long as the file is not touched."""
    state = path.stat()
    key = (os.fspath(path), state.st_size, state.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = hashlib.sha256(read_bytes(path)).hexdigest()
    return _hashes[key]
