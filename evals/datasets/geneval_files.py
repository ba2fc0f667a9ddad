"""GenEval's files: prompts with what an image must hold, and detections in images.

A box is (left, top, right, bottom, confidence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of, read_json, read_jsonl, refuse_duplicates
from evals.errors import EvaluationError
from evals.metrics.geneval import COLOURS

_RELATIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Case:
    """One image: what its prompt asks for, and what a detector found in it.

    Attributes:
        identity: unique in its file.
        metadata: a line of the prompt file.
        detections: class → boxes.
        colours: class → colour of each detection; empty where none was asked for.
        where: file and case, for errors.
    """

    identity: str
    metadata: Mapping[str, Any]
    detections: Mapping[str, Sequence[Sequence[float]]]
    colours: Mapping[str, Sequence[str]]
    where: str

    def colour(self, name: str, place: int) -> str:
        """The colour of a detection.

        Raises:
            EvaluationError: the file does not tell it.
        """
        known = self.colours.get(name, ())
        if place >= len(known):
            raise EvaluationError(
                f"{self.where}: the prompt asks for a colour, but detection_colors lacks {name!r} number {place}.",
                "Give a colour for each detection of a class whose colour is asked for.",
            )
        return known[place]


def read_metadata(path: Path) -> list[Mapping[str, Any]]:
    """The prompts of ``evaluation_metadata.jsonl``.

    Raises:
        EvaluationError: a line is not as it should be, or there is none.
    """
    rows = read_jsonl(path)
    if not rows:
        raise EvaluationError(f"{path} holds no prompt.", "Copy or download it again.")
    for number, row in rows:
        check_metadata(row, path, f"line {number}")
    return [row for _, row in rows]


def check_metadata(row: Any, path: Path, where: str) -> None:
    """Raises EvaluationError where a prompt's demands cannot be judged."""
    field_of(row, "tag", str, path, where)
    field_of(row, "prompt", str, path, where)
    for part in ("include", "exclude"):
        if part == "exclude" and part not in row:
            continue
        for place, demand in enumerate(field_of(row, part, list, path, where)):
            here = f"{where}: {part}[{place}]"
            field_of(demand, "class", str, path, here)
            if field_of(demand, "count", int, path, here) < 1:
                raise EvaluationError(f"{path}: {here}: 'count' is {demand['count']}, not at least 1.")
            if demand.get("color", COLOURS[0]) not in COLOURS:
                raise EvaluationError(f"{path}: {here}: there is no colour {demand['color']!r}.", f"{COLOURS}")
            _check_position(demand.get("position"), place, path, here)


def read_cases(path: Path) -> list[Case]:
    """Detections of images, from JSON (a list, or an object with a list ``cases``) or JSON lines.

    Raises:
        EvaluationError: a case is not as it should be, or an id stands twice.
    """
    if ".jsonl" in path.suffixes:
        rows = [(f"line {number}", row) for number, row in read_jsonl(path)]
    else:
        loaded = read_json(path)
        found = field_of(loaded, "cases", list, path, "the file") if isinstance(loaded, dict) else loaded
        if not isinstance(found, list):
            raise EvaluationError(f"{path} is {type(found).__name__}, not a list of cases.", "See docs/benchmarks.md.")
        rows = [(f"case {place}", row) for place, row in enumerate(found)]
    cases = [_case(row, path, where, place) for place, (where, row) in enumerate(rows)]
    refuse_duplicates((case.identity for case in cases), path, "id")
    return cases


def _case(row: Any, path: Path, where: str, place: int) -> Case:
    metadata = field_of(row, "metadata", dict, path, where)
    identity = str(row.get("id", place))
    where = f"{where} (id {identity})"
    check_metadata(metadata, path, where)
    detections = field_of(row, "detections", dict, path, where)
    for name, boxes in detections.items():
        if not isinstance(boxes, list) or not all(_is_box(box) for box in boxes):
            raise EvaluationError(
                f"{path}: {where}: detections of {name!r} are not rows of five numbers.",
                "A row is left, top, right, bottom, confidence. See docs/benchmarks.md.",
            )
    colours = field_of(row, "detection_colors", dict, path, where) if "detection_colors" in row else {}
    return Case(identity, metadata, detections, colours, f"{path}: {where}")


def _check_position(position: Any, place: int, path: Path, here: str) -> None:
    if position is None:
        return
    if not isinstance(position, list) or len(position) != 2 or position[0] not in _RELATIONS:
        raise EvaluationError(f"{path}: {here}: 'position' is {position}, not [relation, demand].", f"{_RELATIONS}")
    if not isinstance(position[1], int) or not 0 <= position[1] < place:
        raise EvaluationError(f"{path}: {here}: 'position' names demand {position[1]}, which is none before it.")


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 5
        and all(isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in box)
    )
