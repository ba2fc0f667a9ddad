"""Reading what somebody predicted: in any order, each question once, none left out and none invented."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of, refuse_duplicates
from evals.datasets.rows import read_any
from evals.datasets.vqa_files import identity
from evals.errors import EvaluationError


def read_predictions(path: Path, names: Sequence[str], fields: Sequence[str]) -> dict[str, str]:
    """Question id → answer, from a list of objects or one object {id: answer}.

    Args:
        path: the file.
        names: what the id may be called, e.g. ``question_id``; the first that a row has.
        fields: what the answer may be called.

    Raises:
        EvaluationError: a row has no id or no answer, an answer is no text, or an id stands twice.
    """
    content = read_any(path)
    if isinstance(content, dict) and not any(name in content for name in names):
        content = [{names[0]: name, fields[0]: value} for name, value in content.items()]
    rows = content if isinstance(content, list) else [content]
    found = []
    for number, row in enumerate(rows, 1):
        name = identity(row, first_of(row, names), path, f"prediction {number}")
        found.append((name, field_of(row, first_of(row, fields), str, path, f"the prediction for {name}")))
    refuse_duplicates((name for name, _ in found), path, "the prediction for")
    return dict(found)


def first_of(row: Any, names: Sequence[str]) -> str:
    """The first of ``names`` that ``row`` has; the first of all where it has none."""
    return next((name for name in names if isinstance(row, dict) and name in row), names[0])


def check_complete(asked: Collection[str], predicted: Collection[str], path: Path) -> None:
    """Raises EvaluationError unless each question has a prediction and each prediction a question."""
    missing = [name for name in asked if name not in predicted]
    if missing:
        raise EvaluationError(
            f"{path}: no prediction for question {missing[0]}{_more(missing)} of {len(asked)}.",
            "Predict every question; a score over some is not comparable.",
        )
    extra = [name for name in predicted if name not in asked]
    if extra:
        raise EvaluationError(
            f"{path}: a prediction for {extra[0]}, which is not asked{_more(extra)}.",
            "Is it another split? Remove what is not asked.",
        )


def _more(names: Sequence[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""
