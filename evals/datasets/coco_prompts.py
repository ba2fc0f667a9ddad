"""COCO captions as prompts: one caption each of images of val2014, the usual set for FID of text to image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.datasets.dataset import Dataset
from evals.datasets.reading import field_of, read_json, refuse_duplicates
from evals.errors import EvaluationError
from lavit.data.protocol import Index


class CocoPrompts(Dataset):
    """``captions_val2014.json``: every image with one of its captions, drawn by ``seed``.

    Args:
        root: see :class:`~evals.datasets.dataset.Dataset`.
        split: ``val2014``.
        image_size: side in pixels at which images are given.
        seed: of the choice of one caption an image.
        pictures: whether the photographs are needed; without them there are texts alone.
    """

    name = "coco_prompts"
    title = "COCO 2014 captions as prompts"
    folder = "coco"
    page = "https://cocodataset.org/#download"
    layout = """\
  coco/annotations/captions_val2014.json    from annotations_trainval2014.zip
  coco/val2014/                             COCO_val2014_000000000042.jpg, ..."""
    known_splits = ("val2014",)

    def __init__(self, root: Path, split: str, image_size: int, seed: int = 0, pictures: bool = True):
        self.seed, self.pictures = seed, pictures
        super().__init__(root, split, image_size)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The captions."""
        return [f"annotations/captions_{split}.json"]

    def read(self) -> None:
        """Read images and captions, and choose one caption for each image."""
        path = self.annotation(self.annotation_files(self.split)[0])
        content = read_json(path)
        self._files: dict[int, str] = {}
        images = field_of(content, "images", list, path, "the file")
        for place, image in enumerate(images):
            identity = field_of(image, "id", int, path, f"images[{place}]")
            self._files[identity] = field_of(image, "file_name", str, path, f"image {identity}")
        refuse_duplicates((image["id"] for image in images), path, "image id")
        texts: dict[int, list[tuple[int, str]]] = {}
        rows = field_of(content, "annotations", list, path, "the file")
        for place, row in enumerate(rows):
            number = field_of(row, "id", int, path, f"annotations[{place}]")
            image_id = field_of(row, "image_id", int, path, f"annotation {number}")
            if image_id not in self._files:
                raise EvaluationError(
                    f"{path}: annotation {number} is of image {image_id}, which is not in the file.",
                    f"Take the whole file from {self.page}.",
                )
            text = field_of(row, "caption", str, path, f"annotation {number}")
            texts.setdefault(image_id, []).append((number, " ".join(text.split())))
        refuse_duplicates((row["id"] for row in rows), path, "annotation id")
        self._ids = sorted(texts)  # by id, so that the order in the file does not matter
        if not self._ids:
            raise EvaluationError(f"{path} holds no caption.", f"Take the whole file from {self.page}.")
        self._prompts = []
        for identity in self._ids:
            own = sorted(texts[identity])
            chosen = int(np.random.default_rng([self.seed, identity]).integers(len(own)))
            self._prompts.append(own[chosen][1])

    def size(self, split: str) -> int:
        """Number of images with captions."""
        return len(self._ids)

    def image_id(self, index: int) -> str:
        """COCO's own id."""
        return str(self._ids[index])

    def image_path(self, index: int) -> Path | None:
        """The photograph, where they are needed."""
        return self.root / self.split / self._files[self._ids[index]] if self.pictures else None

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """The chosen caption alone."""
        return [[self._prompts[int(index)]] for index in index_B]

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The chosen caption, its white space put straight."""
        return [self._prompts[int(index)] for index in index_B]
