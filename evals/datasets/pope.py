"""POPE (Li et al. 2023): is this object in the image? As often yes as no, about 500 COCO photographs."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.pope_files import read_pope
from evals.datasets.question_set import QuestionSet
from lavit.data.protocol import Question


class PopeQuestions(QuestionSet):
    """3,000 questions a split, which says what absent objects are asked for: any, frequent ones, or likely ones."""

    name = "pope"
    title = "POPE"
    folder = "pope"
    page = "https://github.com/RUCAIBox/POPE/tree/main/output/coco (images: https://cocodataset.org/#download)"
    layout = """\
  pope/coco_pope_random.json              (_popular and _adversarial for these splits)
  coco/val2014/                           COCO_val2014_000000310196.jpg, ..."""
    known_splits = ("random", "popular", "adversarial")

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file a split."""
        return [f"coco_pope_{split}.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the file."""
        path = self.annotation(self.annotation_files(self.split)[0])
        return [(row.image, Question(row.id, "", row.text, row.label, (row.label,))) for row in read_pope(path)]

    def picture(self, image: str) -> Path:
        """The image's name is its file's."""
        return self.root.parent / "coco" / "val2014" / image
