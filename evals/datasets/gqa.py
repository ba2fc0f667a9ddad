"""GQA (Hudson & Manning 2019): compositional questions about scene graphs of photographs, one answer each."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.gqa_files import read_gqa
from evals.datasets.question_set import QuestionSet
from evals.errors import EvaluationError
from lavit.data.protocol import Question


class GqaQuestions(QuestionSet):
    """``testdev_balanced`` (12,578 questions about 398 images), ``val_balanced`` (132,062 about 10,234).

    Kinds are structural types: ``choose``, ``compare``, ``logical``, ``query``, ``verify``.
    """

    name = "gqa"
    title = "GQA"
    folder = "gqa"
    page = "https://cs.stanford.edu/people/dorarad/gqa/download.html"
    layout = """\
  gqa/testdev_balanced_questions.json     (val_balanced_questions.json for the split val_balanced)
  gqa/images/                             n161313.jpg, ..."""
    known_splits = ("testdev_balanced", "val_balanced", "train_balanced")
    unanswered = ("test", "test_balanced", "test_all", "challenge", "challenge_balanced", "challenge_all", "submission")

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """One file a split."""
        return [f"{split}_questions.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the file."""
        path = self.annotation(self.annotation_files(self.split)[0])
        found = []
        for row in read_gqa(path).values():
            if not row.image:
                raise EvaluationError(f"{path}: question {row.id} has no 'imageId'.", "Download the file again.")
            answer = row.scoring.answer
            found.append((row.image, Question(row.id, row.scoring.structural, row.text, answer, (answer,))))
        return found

    def picture(self, image: str) -> Path:
        """Named by the image's id."""
        return self.root / "images" / f"{image}.jpg"
