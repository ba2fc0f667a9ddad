"""ScienceQA (Lu et al. 2022): multiple-choice questions from school, about half of them with a picture."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.question_set import QuestionSet
from evals.datasets.scienceqa_files import Problem, read_problems
from evals.metrics.scienceqa import LETTERS
from lavit.data.protocol import Question


class ScienceQaQuestions(QuestionSet):
    """``test`` are the 2,017 problems with a picture, ``test_all`` all 4,241; ``val`` likewise. Kinds are subjects."""

    name = "scienceqa"
    title = "ScienceQA"
    folder = "scienceqa"
    page = "https://github.com/lupantech/ScienceQA (tools/download.sh)"
    layout = """\
  scienceqa/problems.json
  scienceqa/pid_splits.json
  scienceqa/images/test/                  4/image.png, ... (images/val/ for the split val)"""
    known_splits = ("test", "test_all", "val", "val_all")
    problems: dict[str, Problem]

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The same two files for every split."""
        return ["problems.json", "pid_splits.json"]

    def rows(self) -> list[tuple[str, Question]]:
        """In the order of the split; each problem is an image of its own."""
        part, everything = self.split.removesuffix("_all"), self.split.endswith("_all")
        problems, splits = (self.annotation(name) for name in self.annotation_files(self.split))
        read = [row for row in read_problems(problems, splits, part) if everything or row.image]
        self.problems = {row.id: row for row in read}
        return [(row.id, _question(row)) for row in read]

    def picture(self, image: str) -> Path | None:
        """In a folder of the problem's own."""
        name = self.problems[image].image
        return self.root / "images" / self.split.removesuffix("_all") / image / name if name else None


def _question(problem: Problem) -> Question:
    """Hint, question and lettered options, a line each, as in LLaVA's prompt."""
    lines = [f"Context: {problem.hint}"] if problem.hint else []
    lines.append(problem.text)
    lines += [f"{LETTERS[place]}. {choice}" for place, choice in enumerate(problem.choices)]
    letter = LETTERS[problem.answer]
    tags = {f"choice {LETTERS[place]}": choice for place, choice in enumerate(problem.choices)}
    return Question(problem.id, problem.subject, "\n".join(lines), letter, (letter,), tags)
