"""ScienceQA's own files: ``problems.json``, an object of problems by id, and ``pid_splits.json``, ids by split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.datasets.reading import field_of, read_json
from evals.errors import EvaluationError
from evals.metrics.scienceqa import LETTERS


@dataclass(frozen=True)
class Problem:
    """A multiple-choice question.

    Attributes:
        id: of the problem.
        text: the question.
        hint: what is told before it; may be "".
        choices: the options, at most five.
        answer: which of them is right.
        image: name of the picture, "" where it is asked without one.
        subject: e.g. ``natural science``; "" where the file does not tell.
    """

    id: str
    text: str
    hint: str
    choices: tuple[str, ...]
    answer: int
    image: str
    subject: str


def read_problems(path: Path, splits: Path | None = None, split: str = "test") -> list[Problem]:
    """The problems of a split, in its order; all of them where no file of splits is given.

    Raises:
        EvaluationError: a file is not as its publishers make it; names the problem.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise EvaluationError(f"{path} is not an object of problems by their id.", "Give ScienceQA's problems.json.")
    names = list(content)
    if splits is not None:
        names = [str(name) for name in field_of(read_json(splits), split, list, splits, "the file")]
        absent = next((name for name in names if name not in content), None)
        if absent is not None:
            raise EvaluationError(f"{splits}: problem {absent} of {split!r} is not in {path}.", "Download both again.")
        if len(set(names)) < len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise EvaluationError(f"{splits}: problem {twice} stands twice in {split!r}.", "Keep one of the two.")
    return [_problem(name, content[name], path) for name in names]


def _problem(name: str, row: object, path: Path) -> Problem:
    where = f"problem {name}"
    choices = field_of(row, "choices", list, path, where)
    answer = field_of(row, "answer", int, path, where)
    if not 0 < len(choices) <= len(LETTERS) or not all(isinstance(choice, str) for choice in choices):
        raise EvaluationError(f"{path}: {where}: 'choices' are {choices!r}.", f"They are 1 to {len(LETTERS)} texts.")
    if not 0 <= answer < len(choices):
        raise EvaluationError(
            f"{path}: {where}: 'answer' is {answer}, but there are {len(choices)} choices.", "Mend it."
        )
    assert isinstance(row, dict)
    optional = {
        key: field_of(row, key, str, path, where) if row.get(key) is not None else ""
        for key in ("hint", "image", "subject")
    }
    text = field_of(row, "question", str, path, where)
    return Problem(name, text, optional["hint"], tuple(choices), answer, optional["image"], optional["subject"])
