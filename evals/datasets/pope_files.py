"""POPE's own files: one question a line, {question_id, image, text, label}."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.datasets.reading import field_of, refuse_duplicates
from evals.datasets.rows import read_rows
from evals.datasets.vqa_files import identity
from evals.errors import EvaluationError


@dataclass(frozen=True)
class PopeRow:
    """Is something in an image? ``label`` is ``yes`` or ``no``."""

    id: str
    image: str
    text: str
    label: str


def read_pope(path: Path) -> list[PopeRow]:
    """The questions in the order of the file.

    Raises:
        EvaluationError: a row lacks a field, a label is neither yes nor no, or an id stands twice.
    """
    rows = []
    for number, row in read_rows(path):
        name = identity(row, "question_id", path, f"row {number}")
        where = f"question {name}"
        label = field_of(row, "label", str, path, where)
        if label not in ("yes", "no"):
            raise EvaluationError(f"{path}: {where}: 'label' is {label!r}.", "It is yes or no.")
        image, text = field_of(row, "image", str, path, where), field_of(row, "text", str, path, where)
        rows.append(PopeRow(name, image, text, label))
    refuse_duplicates((row.id for row in rows), path, "question_id")
    return rows
