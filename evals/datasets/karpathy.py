"""Caption sets in the form of Karpathy's splits: ``{"images": [{"filename", "split", "sentences": [{"raw"}], …}]}``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.dataset import Dataset
from evals.datasets.reading import field_of, read_json, refuse_duplicates
from evals.errors import EvaluationError
from lavit.data.protocol import Index


@dataclass(frozen=True, slots=True)
class Captioned:
    """One image: its id, where its picture lies below the dataset's folder, what people said of it, and of which kind
    it is ("" where the set knows none)."""

    id: str
    picture: str
    captions: tuple[str, ...]
    kind: str = ""


class CaptionSet(Dataset):
    """A set of images with captions; what is drawn from text is drawn from an image's first caption."""

    images_of_split: list[Captioned]

    def size(self, split: str) -> int:
        """Number of images."""
        return len(self.images_of_split)

    def image_id(self, index: int) -> str:
        """The publishers' id."""
        return self.images_of_split[index].id

    def image_path(self, index: int) -> Path:
        """Where the picture is."""
        return self.root / self.images_of_split[index].picture

    def kind(self, index: int) -> str:
        """The part of the set that an image is of; "" where there are no parts."""
        return self.images_of_split[index].kind

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """All captions of each image, as they were written."""
        return [list(self.images_of_split[int(index)].captions) for index in index_B]

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The first caption of each image."""
        return [self.images_of_split[int(index)].captions[0] for index in index_B]


class KarpathySplits(CaptionSet):
    """Images with captions whose split stands in each image's own entry."""

    file: str

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file holds all splits."""
        return [cls.file]

    def read(self) -> None:
        """Every entry is checked, also those of other splits: an id that stands twice may stand in two splits."""
        path = self.annotation(self.file)
        entries = field_of(read_json(path), "images", list, path, "the file")
        ids, self.images_of_split = [], []
        for number, entry in enumerate(entries):
            split = field_of(entry, "split", str, path, f"images[{number}]")
            if split not in self.known_splits:
                raise EvaluationError(
                    f"{path}: images[{number}]: split is {split!r}.", f"Splits are {', '.join(self.known_splits)}."
                )
            identity, picture = self.identify(entry, path, f"images[{number}]")
            ids.append(identity)
            if split == self.split:
                sentences = field_of(entry, "sentences", list, path, f"image {identity}")
                texts = [field_of(row, "raw", str, path, f"a sentence of image {identity}") for row in sentences]
                self.images_of_split.append(Captioned(identity, picture, require_captions(texts, path, identity)))
        refuse_duplicates(ids, path, "image")

    @abstractmethod
    def identify(self, entry: Mapping[str, Any], path: Path, where: str) -> tuple[str, str]:
        """An image's id and where its picture lies below the dataset's folder; ``where`` names the entry in errors."""


def require_captions(texts: list[str], path: Path, image: str) -> tuple[str, ...]:
    """The captions of an image that say something.

    Raises:
        EvaluationError: there is none.
    """
    said = tuple(text for text in texts if text.strip())
    if not said:
        raise EvaluationError(f"{path}: image {image} has no caption.", "Download the file again.")
    return said
