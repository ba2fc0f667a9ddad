"""Base of the evaluation sets that ask several questions about each image."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from evals.datasets.dataset import Dataset
from evals.datasets.vqa_files import Asked
from evals.errors import EvaluationError
from lavit.data.protocol import Index, Question


class QuestionSet(Dataset):
    """Questions grouped by their image, both in the order of the file.

    Raises:
        EvaluationError: see :class:`~evals.datasets.dataset.Dataset`; or a split whose answers are not published.
    """

    unanswered: ClassVar[tuple[str, ...]] = ()  # splits whose answers only the publishers' server has
    groups: dict[str, list[Question]]

    def __init__(self, root: Path, split: str, image_size: int, all_pictures: bool = True):
        if split in self.unanswered:
            raise EvaluationError(
                f"{self.title}: the answers of {split!r} are not published, so that it cannot be scored here.",
                f"Take {', '.join(self.known_splits)}; {split!r} is scored by the publishers' server.",
            )
        super().__init__(root, split, image_size, all_pictures)

    @abstractmethod
    def rows(self) -> Iterable[tuple[str, Question]]:
        """(image, question) in the order of the file, checked."""

    @abstractmethod
    def picture(self, image: str) -> Path | None:
        """Where an image lies; None for a question that is asked without one."""

    def read(self) -> None:
        """Group the questions by image."""
        self.groups = {}
        for image, question in self.rows():
            if not image or image.startswith(".") or "/" in image or "\\" in image:
                raise EvaluationError(f"{self.title}: question {question.id} is about image {image!r}.", "Mend its id.")
            self.groups.setdefault(image, []).append(question)
        self._names = list(self.groups)
        for name in self._names:
            path = self.picture(name)
            if path is not None and ".." in path.parts[len(self.root.parts) - 1 :]:
                raise EvaluationError(f"{self.title}: the picture of {name} would be {path}.", "Mend the file's paths.")

    def size(self, split: str) -> int:
        """Number of images."""
        return len(self._names)

    def image_id(self, index: int) -> str:
        """The publishers' id, or file name without its ending."""
        return self._names[index].removesuffix(".jpg").removesuffix(".png")

    def image_path(self, index: int) -> Path | None:
        """Where the picture is."""
        return self.picture(self._names[index])

    def questions(self, split: str, index_B: Index, per_image: int | None) -> list[list[Question]]:
        """The first ``per_image`` questions of each image; all of them where it is None."""
        return [self.groups[self._names[int(index)]][:per_image] for index in index_B]

    def describe(self) -> str:
        """One line for the report."""
        asked = sum(map(len, self.groups.values()))
        return f"{self.title}, {self.split}: {asked} questions about {len(self._names)} images"


def ten_people(rows: Sequence[Asked], path: Path) -> list[tuple[str, Question]]:
    """Questions with ten answers; the answer that most people gave is the one to learn.

    Raises:
        EvaluationError: a question has no answers.
    """
    found = []
    for row in rows:
        if not row.answers:
            raise EvaluationError(f"{path}: question {row.id} has no answers.", "Is it the file of another split?")
        tags = {"question_type": row.question_type, "answer_type": row.answer_type}
        if row.answerable is not None:
            tags["answerable"] = str(int(row.answerable))
        first = Counter(row.answers).most_common(1)[0][0]
        found.append((row.image, Question(row.id, row.question_type, row.text, first, row.answers, tags)))
    return found
