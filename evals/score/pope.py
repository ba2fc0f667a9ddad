"""POPE: accuracy, precision, recall and F1 of saying that an object is in an image.

Questions are the published JSON lines {question_id, image, text, label}. Answers are JSON lines {question, answer} in
the questions' order, as POPE's own code takes them, or {question_id, answer} in any order. An answer is a no if its
first sentence has the word No, no or not, and else a yes. Totals are the official ones, shares 0-1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evals.datasets.pope_files import PopeRow, read_pope
from evals.datasets.reading import field_of
from evals.datasets.rows import read_rows
from evals.errors import EvaluationError
from evals.metrics import pope
from evals.records import Record
from evals.score.predictions import check_complete, first_of, read_predictions
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score pope --questions coco_pope_adversarial.json --predictions answers.jsonl
  lavit score pope --questions coco_pope_random.json --predictions answers.jsonl --json --records pope.parquet
"""
_ANSWERS = ("answer", "text")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--questions", type=Path, metavar="Q.jsonl", required=True)
    parser.add_argument("--predictions", type=Path, metavar="P.jsonl", required=True)


def score(arguments: argparse.Namespace) -> Scored:
    """Score the predictions."""
    asked = read_pope(arguments.questions)
    said = _read(arguments.predictions, asked)
    totals, missing = pope.totals([said[row.id] for row in asked], [row.label for row in asked])
    fingerprint = {
        "metric": pope.NAME,
        "questions": len(asked),
        "files": hashes(arguments.questions, arguments.predictions),
    }
    return Scored(totals, [_record(row, said[row.id]) for row in asked], fingerprint, missing)


def _read(path: Path, asked: list[PopeRow]) -> dict[str, str]:
    rows = read_rows(path)
    if all(isinstance(row, dict) and "question_id" in row for _, row in rows):
        said = read_predictions(path, ("question_id",), _ANSWERS)
        check_complete([row.id for row in asked], said, path)
        return said
    if len(rows) != len(asked):
        raise EvaluationError(
            f"{path} has {len(rows)} answers to {len(asked)} questions.",
            "Answer each question once, in the order of the questions, or name its question_id.",
        )
    return {
        question.id: _in_order(row, question, path, number) for (number, row), question in zip(rows, asked, strict=True)
    }


def _in_order(row: Any, question: PopeRow, path: Path, number: int) -> str:
    """The answer of a row that says its place by where it stands; the question that it repeats has to be the same."""
    answer: str = field_of(row, first_of(row, _ANSWERS), str, path, f"row {number}")
    for name, right in (("question", question.text), ("image", question.image)):
        if row.get(name, right) != right:
            raise EvaluationError(
                f"{path}: row {number} answers {row[name]!r}, but the question at this place is {right!r}.",
                "Answers without question_id must stand in the order of the questions.",
            )
    return answer


def _record(row: PopeRow, prediction: str) -> Record:
    return Record(
        benchmark="pope",
        metric="accuracy",
        control="",
        split="",
        example_id=row.id,
        cluster_id=row.image,
        kind=row.label,
        prompt=row.text,
        prediction=prediction,
        references=(row.label,),
        score=float(pope.reads_as(prediction) == row.label),
    )
