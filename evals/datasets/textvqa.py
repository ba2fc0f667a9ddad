"""TextVQA (Singh et al. 2019): questions whose answers stand written in the image, ten answers each."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.question_set import QuestionSet, ten_people
from evals.datasets.vqa_files import read_asked
from lavit.data.protocol import Question


class TextVqaQuestions(QuestionSet):
    """5,000 questions about 3,166 images of Open Images (val)."""

    name = "textvqa"
    title = "TextVQA"
    folder = "textvqa"
    page = "https://textvqa.org/dataset/"
    layout = """\
  textvqa/TextVQA_0.5.1_val.json
  textvqa/train_images/                   003a8ae2ef43b901.jpg, ... (train and val lie in one folder)"""
    known_splits = ("val", "train")
    unanswered = ("test",)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file a split."""
        return [f"TextVQA_0.5.1_{split}.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the file."""
        path = self.annotation(self.annotation_files(self.split)[0])
        return ten_people(read_asked(None, path), path)

    def picture(self, image: str) -> Path:
        """Named by the image's id."""
        return self.root / "train_images" / f"{image}.jpg"
