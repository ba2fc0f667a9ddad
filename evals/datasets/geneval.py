"""GenEval: prompts whose objects, counts, colours and places a detector can check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.datasets.dataset import Dataset
from evals.datasets.geneval_files import read_metadata
from lavit.data.protocol import Index


class GenEval(Dataset):
    """``evaluation_metadata.jsonl``, each prompt to be drawn several times; example = prompt and number of the drawing.

    Args:
        root: see :class:`~evals.datasets.dataset.Dataset`.
        split: ``test``; there is one set.
        image_size: of no use here: there are no pictures.
        drawings: how often each prompt is drawn.
    """

    name = "geneval"
    title = "GenEval"
    folder = "geneval"
    page = "https://github.com/djghosh13/geneval (prompts/)"
    layout = """\
  geneval/prompts/evaluation_metadata.jsonl    one prompt a line, with what its drawings have to hold"""
    known_splits = ("test",)

    def __init__(self, root: Path, split: str, image_size: int, drawings: int = 4):
        self.drawings = drawings
        super().__init__(root, split, image_size)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The prompts."""
        return ["prompts/evaluation_metadata.jsonl"]

    def read(self) -> None:
        """Read and check all prompts."""
        self._metadata = read_metadata(self.annotation(self.annotation_files(self.split)[0]))

    def size(self, split: str) -> int:
        """Number of drawings."""
        return len(self._metadata) * self.drawings

    def place(self, index: int) -> tuple[int, int]:
        """(prompt, number of its drawing), both from 0."""
        return divmod(index, self.drawings)

    def metadata(self, index: int) -> Mapping[str, Any]:
        """The prompt's line."""
        return self._metadata[self.place(index)[0]]

    def image_id(self, index: int) -> str:
        """Prompt and drawing as GenEval numbers them."""
        prompt, number = self.place(index)
        return f"{prompt:05d}-{number:04d}"

    def image_path(self, index: int) -> Path | None:
        """There are no pictures."""
        return None

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """What to draw."""
        return [str(self.metadata(int(index))["prompt"]) for index in index_B]
