"""Questions with people's answers, in the files of VQAv2, OK-VQA, TextVQA, VizWiz and A-OKVQA.

Whoever reads them, a benchmark or ``lavit score``, gets the same rows under the same checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of, read_json, refuse_duplicates
from evals.errors import EvaluationError
from evals.metrics.vqa_protocols import ANSWERS


@dataclass(frozen=True)
class Asked:
    """A question about an image, with what ten people answered.

    Attributes:
        id: the question's id as text: 17 and "17" are the same.
        image: id or file name of its image.
        text: the question; "" where only annotations were read.
        answers: the ten answers; none where the file has none (test splits).
        question_type: its first words or its category, "" where the file does not tell.
        answer_type: ``yes/no``, ``number``, ``other`` ..., "" where the file does not tell.
        answerable: whether it can be answered from the image (VizWiz); None where the file does not tell.
        choices: options to choose from (A-OKVQA).
        correct: which of ``choices`` is right.
        difficult: left out of the direct-answer score (A-OKVQA).
    """

    id: str
    image: str
    text: str
    answers: tuple[str, ...] = ()
    question_type: str = ""
    answer_type: str = ""
    answerable: bool | None = None
    choices: tuple[str, ...] = ()
    correct: int | None = None
    difficult: bool = False


def identity(row: Any, name: str, path: Path, where: str) -> str:
    """``row[name]``, an integer or a non-empty string, as text.

    Raises:
        EvaluationError: it is missing or neither.
    """
    value = field_of(row, name, (int, str), path, where)
    if value == "":
        raise EvaluationError(f"{path}: {where}: {name!r} is empty.", "Give each row its id.")
    return str(value)


def rows_of(value: Any, path: Path, what: str) -> list[Any]:
    """``value`` if it is a list with something in it.

    Raises:
        EvaluationError: it is not, saying what it should list.
    """
    if not isinstance(value, list):
        found = type(value).__name__
        raise EvaluationError(f"{path}: there should be a list of {what}, not {found}.", "Is it the right file?")
    if not value:
        raise EvaluationError(f"{path}: the list of {what} is empty.", "Is it the right file?")
    return value


def ten_answers(row: Any, name: str, path: Path, where: str) -> tuple[str, ...]:
    """The ten people's answers: strings, or objects with an ``answer``.

    Raises:
        EvaluationError: there are not ten, or one is no text.
    """
    given = field_of(row, name, list, path, where)
    if len(given) != ANSWERS:
        raise EvaluationError(
            f"{path}: {where} has {len(given)} answers; the rules need {ANSWERS}.",
            "Take the publishers' file as it is, or leave the question out of every file.",
        )
    answers = [
        answer if isinstance(answer, str) else field_of(answer, "answer", str, path, f"{where}, answer {place}")
        for place, answer in enumerate(given, 1)
    ]
    return tuple(answers)


def read_asked(questions: Path | None, annotations: Path | None) -> list[Asked]:
    """Read questions and answers, from two files (VQAv2, OK-VQA) or from the only one (the others).

    Args:
        questions: the questions; also where the only file is named.
        annotations: the answers, in whose order the rows come. None: there are none (a test split), or they stand
            with the questions.

    Raises:
        EvaluationError: a file is not as its publishers make it, or the two do not belong together.
    """
    if annotations is not None and questions is not None and annotations != questions:
        return _pair(read_asked(questions, None), questions, read_asked(None, annotations), annotations)
    path = annotations or questions
    if path is None:
        raise EvaluationError("There is no file of questions.", "Name one.")
    content = read_json(path)
    if isinstance(content, list):
        first = rows_of(content, path, "questions")[0]
        read = _aokvqa if isinstance(first, dict) and "direct_answers" in first else _vizwiz
        found = [read(row, path, number) for number, row in enumerate(content, 1)]
    elif isinstance(content, dict) and "annotations" in content:
        rows = rows_of(content["annotations"], path, "annotations")
        found = [_annotation(row, path, number) for number, row in enumerate(rows, 1)]
    elif isinstance(content, dict) and "data" in content:
        rows = rows_of(content["data"], path, "questions")
        found = [_textvqa(row, path, number) for number, row in enumerate(rows, 1)]
    elif isinstance(content, dict) and "questions" in content:
        rows = rows_of(content["questions"], path, "questions")
        found = [_question(row, path, number) for number, row in enumerate(rows, 1)]
    else:
        raise EvaluationError(
            f"{path} has neither 'questions', 'annotations' nor 'data', and is no list.",
            "Known are the files of VQAv2, OK-VQA, TextVQA, VizWiz and A-OKVQA, see docs/benchmarks.md.",
        )
    refuse_duplicates((row.id for row in found), path, "question id")
    _all_or_none(found, path)
    return found


def _where(row: Any, number: int, path: Path, name: str = "question_id") -> tuple[str, str]:
    name_of_row = identity(row, name, path, f"row {number}")
    return name_of_row, f"question {name_of_row}"


def _question(row: Any, path: Path, number: int) -> Asked:
    name, where = _where(row, number, path)
    return Asked(name, identity(row, "image_id", path, where), field_of(row, "question", str, path, where))


def _annotation(row: Any, path: Path, number: int) -> Asked:
    name, where = _where(row, number, path)
    return Asked(
        name,
        str(field_of(row, "image_id", (int, str), path, where)) if "image_id" in row else "",
        "",
        ten_answers(row, "answers", path, where),
        _optional(row, "question_type", path, where),
        _optional(row, "answer_type", path, where),
    )


def _textvqa(row: Any, path: Path, number: int) -> Asked:
    name, where = _where(row, number, path)
    return Asked(
        name,
        identity(row, "image_id", path, where),
        field_of(row, "question", str, path, where),
        ten_answers(row, "answers", path, where) if "answers" in row else (),
    )


def _vizwiz(row: Any, path: Path, number: int) -> Asked:
    name, where = _where(row, number, path, "image")
    answerable = field_of(row, "answerable", int, path, where) if "answerable" in row else None
    if answerable not in (None, 0, 1):
        raise EvaluationError(f"{path}: {where}: 'answerable' is {answerable}.", "It is 0 or 1.")
    return Asked(
        name,
        name,
        field_of(row, "question", str, path, where),
        ten_answers(row, "answers", path, where) if "answers" in row else (),
        answer_type=_optional(row, "answer_type", path, where),
        answerable=None if answerable is None else bool(answerable),
    )


def _aokvqa(row: Any, path: Path, number: int) -> Asked:
    name, where = _where(row, number, path)
    choices = field_of(row, "choices", list, path, where) if "choices" in row else []
    correct = field_of(row, "correct_choice_idx", int, path, where) if "correct_choice_idx" in row else None
    if not all(isinstance(choice, str) for choice in choices) or (
        correct is not None and not 0 <= correct < len(choices)
    ):
        raise EvaluationError(f"{path}: {where}: 'choices' has no text at correct_choice_idx {correct}.", "Mend it.")
    difficult = row.get("difficult_direct_answer", False)
    if not isinstance(difficult, bool):
        raise EvaluationError(f"{path}: {where}: 'difficult_direct_answer' is {difficult!r}.", "It is true or false.")
    return Asked(
        name,
        identity(row, "image_id", path, where),
        field_of(row, "question", str, path, where),
        ten_answers(row, "direct_answers", path, where),
        choices=tuple(choices),
        correct=correct,
        difficult=difficult,
    )


def _optional(row: Any, name: str, path: Path, where: str) -> str:
    return field_of(row, name, str, path, where) if name in row else ""


def _all_or_none(rows: list[Asked], path: Path) -> None:
    """Refuse a file of which only some rows say of what type they are: no mean over types could be trusted."""
    for name in ("question_type", "answer_type", "answerable", "answers"):
        told = [getattr(row, name) not in ("", None, ()) for row in rows]
        if any(told) and not all(told):
            without = rows[told.index(False)].id
            raise EvaluationError(
                f"{path}: question {without} has no {name!r}, though others have.", "Add it, or take it from all."
            )


def _pair(asked: list[Asked], questions: Path, answered: list[Asked], annotations: Path) -> list[Asked]:
    by_id = {row.id: row for row in asked}
    refuse_strangers((row.id for row in answered), by_id, annotations, f"{questions} does not ask it")
    refuse_strangers(by_id, {row.id for row in answered}, questions, f"{annotations} does not answer it")
    paired = []
    for row in answered:
        question = by_id[row.id]
        if row.image and row.image != question.image:
            raise EvaluationError(
                f"Question {row.id} is about image {question.image} in {questions}, but {row.image} in {annotations}.",
                "Do the two files belong to the same split?",
            )
        paired.append(
            Asked(row.id, question.image, question.text, row.answers, row.question_type, row.answer_type)
            if row.answers
            else question
        )
    return paired


def refuse_strangers(ids: Iterable[str], known: Any, path: Path, reason: str) -> None:
    """Raises EvaluationError if one of ``ids``, all from ``path``, is not ``known``; tells how many are not."""
    strange = [name for name in ids if name not in known]
    if strange:
        more = f", and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise EvaluationError(
            f"{path}: question {strange[0]}{more}: {reason}.", "The files must be about the same questions."
        )
