"""GQA's own files: questions and choices, JSON objects by question id."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of, read_json
from evals.datasets.rows import read_rows
from evals.datasets.vqa_files import identity
from evals.errors import EvaluationError
from evals.metrics.gqa import GqaQuestion, count_steps
from evals.metrics.gqa_grounding import Box


@dataclass(frozen=True)
class GqaRow:
    """A question as asked, and what its scoring needs; ``image`` is "" where the file names none.

    ``objects`` are those in the scene graph that question and full answer refer to, each as often as they do.
    """

    id: str
    image: str
    text: str
    scoring: GqaQuestion
    objects: tuple[str, ...] = ()


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
    return GqaRow(name, image, text, scoring, _objects(row, path, where))


def _objects(row: Any, path: Path, where: str) -> tuple[str, ...]:
    pointers = row.get("annotations")
    if not isinstance(pointers, dict):
        return ()
    parts = [pointers[key] for key in ("question", "fullAnswer") if key in pointers]
    if not all(isinstance(part, dict) for part in parts):
        raise EvaluationError(f"{path}: {where}: 'annotations' are not objects by words.", "Download the file again.")
    return tuple(str(name) for part in parts for name in part.values())


def read_attention(path: Path) -> dict[str, list[list[float]]]:
    """Question id → its attention map, a square of numbers.

    Raises:
        EvaluationError: a row has no square map of numbers, or an id stands twice.
    """
    found: dict[str, list[list[float]]] = {}
    for number, row in read_rows(path):
        name = identity(row, "questionId", path, f"row {number}")
        given = field_of(row, "attention", list, path, f"the attention for {name}")
        square = all(isinstance(line, list) and len(line) == len(given) for line in given) and given
        numbers = square and all(isinstance(cell, (int, float)) for line in given for cell in line)
        if not numbers or not all(math.isfinite(cell) for line in given for cell in line):
            raise EvaluationError(f"{path}: the attention for {name} is no square of numbers.", "Give rows of a map.")
        if name in found:
            raise EvaluationError(f"{path}: the attention for {name} stands twice.", "Keep one of the two.")
        found[name] = given
    return found


def read_regions(path: Path, rows: Iterable[GqaRow]) -> dict[str, list[Box]]:
    """Question id → boxes of the objects it refers to, from scene graphs (``val_sceneGraphs.json``).

    Raises:
        EvaluationError: an image or an object is not in the file, or has no box.
    """
    graphs = read_json(path)
    found = {}
    for row in rows:
        where = f"image {row.image}"
        graph = field_of(graphs, row.image, dict, path, where)
        sides = [field_of(graph, side, (int, float), path, where) for side in ("width", "height")]
        if min(sides) <= 0:
            raise EvaluationError(f"{path}: {where} is {sides[0]} by {sides[1]}.", "Download the file again.")
        objects = field_of(graph, "objects", dict, path, where)
        boxes = []
        for name in row.objects:
            thing = field_of(objects, name, dict, path, where)
            x, y, w, h = (field_of(thing, key, (int, float), path, f"object {name} of {where}") for key in "xywh")
            boxes.append((x / sides[0], y / sides[1], (x + w) / sides[0], (y + h) / sides[1]))
        found[row.id] = boxes
    return found


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
