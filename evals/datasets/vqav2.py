"""VQAv2 (Goyal et al. 2017) and OK-VQA (Marino et al. 2019): questions about COCO photographs, ten answers each."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.question_set import QuestionSet, ten_people
from evals.datasets.vqa_files import read_asked
from lavit.data.protocol import Question


class CocoQuestions(QuestionSet):
    """Two files, questions and annotations, about images of COCO's ``val2014`` or ``train2014``."""

    known_splits = ("val", "train")
    questions_file: str
    annotations_file: str

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """Questions, then annotations."""
        return [cls.questions_file.format(split), cls.annotations_file.format(split)]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the annotations, as the official code has it."""
        asked, answered = (self.annotation(name) for name in self.annotation_files(self.split))
        return ten_people(read_asked(asked, answered), answered)

    def picture(self, image: str) -> Path:
        """COCO's own name of an image."""
        folder = f"{self.split}2014"
        return self.root.parent / "coco" / folder / f"COCO_{folder}_{image.zfill(12)}.jpg"


class Vqav2Questions(CocoQuestions):
    """214,354 questions about 40,504 images (val); kinds are question types, e.g. ``how many``."""

    name = "vqav2"
    title = "VQAv2"
    folder = "vqav2"
    page = "https://visualqa.org/download.html (images: https://cocodataset.org/#download)"
    layout = """\
  vqav2/v2_OpenEnded_mscoco_val2014_questions.json
  vqav2/v2_mscoco_val2014_annotations.json
  coco/val2014/                           COCO_val2014_000000000042.jpg, ..."""
    unanswered = ("test", "test-dev", "test2015", "test-dev2015")
    questions_file = "v2_OpenEnded_mscoco_{}2014_questions.json"
    annotations_file = "v2_mscoco_{}2014_annotations.json"


class OkVqaQuestions(CocoQuestions):
    """5,046 questions (val) that need knowledge from outside the image; kinds are its categories."""

    name = "okvqa"
    title = "OK-VQA"
    folder = "okvqa"
    page = "https://okvqa.allenai.org/download.html (images: https://cocodataset.org/#download)"
    layout = """\
  okvqa/OpenEnded_mscoco_val2014_questions.json
  okvqa/mscoco_val2014_annotations.json
  coco/val2014/                           COCO_val2014_000000000042.jpg, ..."""
    questions_file = "OpenEnded_mscoco_{}2014_questions.json"
    annotations_file = "mscoco_{}2014_annotations.json"
