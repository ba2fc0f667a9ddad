"""VizWiz-VQA (Gurari et al. 2018): photographs and questions of blind people, many of which cannot be answered."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.question_set import QuestionSet, ten_people
from evals.datasets.vqa_files import read_asked
from evals.errors import EvaluationError
from lavit.data.protocol import Question


class VizWizQuestions(QuestionSet):
    """4,319 questions (val), one an image."""

    name = "vizwiz"
    title = "VizWiz-VQA"
    folder = "vizwiz"
    page = "https://vizwiz.org/tasks-and-datasets/vqa/"
    layout = """\
  vizwiz/Annotations/val.json
  vizwiz/val/                             VizWiz_val_00000000.jpg, ..."""
    known_splits = ("val", "train")
    unanswered = ("test",)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file a split."""
        return [f"Annotations/{split}.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the file; a question's id is its image's name."""
        path = self.annotation(self.annotation_files(self.split)[0])
        rows = read_asked(None, path)
        if rows[0].answerable is None:
            raise EvaluationError(f"{path}: question {rows[0].id} has no 'answerable'.", "Download the file again.")
        return ten_people(rows, path)

    def picture(self, image: str) -> Path:
        """The image's name is its file's."""
        return self.root / self.split / image
