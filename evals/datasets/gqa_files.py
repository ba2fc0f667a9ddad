"""GQA's own files: questions and choices, JSON objects by question id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of, read_json
from evals.errors import EvaluationError
from evals.metrics.gqa import GqaQuestion, count_steps


@dataclass(frozen=True)
class GqaRow:
    """A question as asked, and what its scoring needs; ``image`` is "" where the file names none."""

    id: str
    image: str
    text: str
    scoring: GqaQuestion


def read_gqa(path: Path) -> dict[str, GqaRow]:
    """Question id → question.

    Raises:
        EvaluationError: the file is not as GQA's publishers make it; names the question.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content or not all(isinstance(row, dict) for row in content.values()):
        raise EvaluationError(
            f"{path} is not an object of questions by their id.", "Give e.g. testdev_balanced_questions.json."
        )
    return {name: _row(name, row, path) for name, row in content.items()}


def _row(name: str, row: Any, path: Path) -> GqaRow:
    where = f"question {name}"
    if "answer" not in row:
        raise EvaluationError(f"{path}: {where} has no answer.", "Only GQA's server has those of the test splits.")
    types = field_of(row, "types", dict, path, where)
    text = field_of(row, "question", str, path, where)
    steps = [
        (field_of(step, "operation", str, path, where), field_of(step, "argument", str, path, where))
        for step in field_of(row, "semantic", list, path, where)
    ]
    entailed = field_of(row, "entailed", list, path, where) if "entailed" in row else []
    balanced = row.get("isBalanced")
    if not isinstance(balanced, bool):
        raise EvaluationError(f"{path}: {where}: 'isBalanced' is {balanced!r}.", "It is true or false.")
    groups = field_of(row, "groups", dict, path, where)
    scoring = GqaQuestion(
        answer=field_of(row, "answer", str, path, where),
        balanced=balanced,
        structural=field_of(types, "structural", str, path, where),
        semantic=field_of(types, "semantic", str, path, where),
        detailed=field_of(types, "detailed", str, path, where),
        group=None if groups.get("global") is None else field_of(groups, "global", str, path, where),
        words=len(text.split()),
        steps=count_steps(steps),
        entailed=tuple(str(other) for other in entailed),
    )
    image = field_of(row, "imageId", str, path, where) if "imageId" in row else ""
    return GqaRow(name, image, text, scoring)


def read_choices(path: Path, questions: dict[str, GqaRow]) -> dict[str, dict[str, list[str]]]:
    """Question id → its ``valid`` and its ``plausible`` answers, of every balanced question.

    Raises:
        EvaluationError: a balanced question is not there, or has no lists of text.
    """
    content = read_json(path)
    found = {}
    for name, row in questions.items():
        if row.scoring.balanced:
            where = f"question {name}"
            if not isinstance(content, dict) or name not in content:
                raise EvaluationError(f"{path} has no choices for {where}.", "Give the choices of the same split.")
            found[name] = {key: field_of(content[name], key, list, path, where) for key in ("valid", "plausible")}
            if not all(isinstance(choice, str) for choices in found[name].values() for choice in choices):
                raise EvaluationError(f"{path}: {where}: a choice is no text.", "Download the file again.")
    return found
