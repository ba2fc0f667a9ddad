"""VQA accuracy of answers to questions with ten human answers, under a named protocol.

Reads the files of VQAv2 and OK-VQA (questions and annotations), and the single files of TextVQA, VizWiz and A-OKVQA
(as --annotations). Predictions are what the datasets' servers take: a list of {question_id, answer}, for VizWiz of
{image, answer}, for A-OKVQA {question_id: answer} or {question_id: {direct_answer, multiple_choice}}.

Totals in percent: overall, by_question_type, by_answer_type; for VizWiz answerability (average precision and F1 of
"cannot be answered"), for A-OKVQA multiple_choice, where the predictions have them. Records hold accuracies 0-1.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of
from evals.datasets.rows import read_any
from evals.datasets.vqa_files import Asked, read_asked, refuse_strangers
from evals.errors import EvaluationError
from evals.metrics import vqa_protocols
from evals.metrics.answerability import answerability
from evals.records import Record
from evals.score.predictions import check_complete, read_predictions
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score vqa --questions v2_OpenEnded_mscoco_val2014_questions.json \\
                  --annotations v2_mscoco_val2014_annotations.json --predictions results.json --json
  lavit score vqa --annotations TextVQA_0.5.1_val.json --predictions results.json --protocol evalai
  lavit score vqa --annotations val.json --predictions results.json --answerability answerable.json --protocol vizwiz
  lavit score vqa --annotations aokvqa_v1p0_val.json --predictions predictions.json --protocol aokvqa
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--questions", type=Path, metavar="Q.json", help="questions, where they have their own file")
    parser.add_argument("--annotations", type=Path, metavar="A.json", help="answers, or questions and answers in one")
    parser.add_argument("--predictions", type=Path, metavar="P.json", required=True)
    parser.add_argument(
        "--protocol",
        choices=list(vqa_protocols.PROTOCOLS),
        default="official",
        help="official: VQAv2 and OK-VQA (the default); evalai: TextVQA; vizwiz; aokvqa",
    )
    parser.add_argument(
        "--answerability", type=Path, metavar="P.json", help="VizWiz: a list of {image, answerable}, 0 to 1"
    )


def score(arguments: argparse.Namespace) -> Scored:
    """Score the predictions."""
    source = arguments.annotations or arguments.questions
    if source is None:
        raise EvaluationError("Neither --annotations nor --questions is given.", "Name the file with the answers.")
    asked = read_asked(arguments.questions, arguments.annotations)
    unanswered = next((row for row in asked if not row.answers), None)
    if unanswered is not None:
        raise EvaluationError(
            f"{source}: question {unanswered.id} has no answers to compare with.",
            "Give --annotations; of a test split only the dataset's server has them.",
        )
    counted = [row for row in asked if not (row.difficult and arguments.protocol == "aokvqa")]
    if not counted:
        raise EvaluationError(f"{source}: every question is marked difficult_direct_answer.", "Is it the right file?")
    said, chosen = _read(arguments.predictions, {row.id: row for row in asked}, counted)
    rule = vqa_protocols.PROTOCOLS[arguments.protocol]
    accuracy = {row.id: rule(said[row.id], row.answers) for row in counted}
    totals: dict[str, Any] = {"overall": 100 * sum(accuracy.values()) / len(accuracy)}
    for name in ("question_type", "answer_type"):
        groups: dict[str, list[float]] = defaultdict(list)
        for row in counted:
            groups[getattr(row, name)].append(accuracy[row.id])
        totals[f"by_{name}"] = {kind: 100 * sum(group) / len(group) for kind, group in groups.items() if kind}
    if chosen:
        totals["multiple_choice"] = 100 * sum(_chose_right(row, chosen) for row in asked) / len(asked)
    further, missing = _answerability(arguments, asked)
    fingerprint = {
        "metric": vqa_protocols.NAME,
        "protocol": arguments.protocol,
        "questions": len(counted),
        "left out as difficult": len(asked) - len(counted),
        "files": hashes(arguments.questions, arguments.annotations, arguments.predictions, arguments.answerability),
    }
    return Scored(totals | further, _records(counted, said, accuracy), fingerprint, missing)


def _read(
    path: Path, asked: Mapping[str, Asked], counted: Sequence[Asked]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What was answered freely, and what was chosen from A-OKVQA's options."""
    content = read_any(path)
    paired = isinstance(content, dict) and bool(content) and all(isinstance(row, dict) for row in content.values())
    if not paired:
        said = read_predictions(path, ("question_id", "image", "questionId"), ("answer", "text"))
        check_complete([row.id for row in counted], {name: said[name] for name in said if _counts(asked, name)}, path)
        return said, {}
    said = {
        name: field_of(row, "direct_answer", str, path, f"the prediction for {name}")
        for name, row in content.items()
        if _counts(asked, name)
    }
    check_complete([row.id for row in counted], said, path)
    if not any("multiple_choice" in row for row in content.values()):
        return said, {}
    refuse_strangers(asked, content, path, "no multiple_choice was predicted for it")
    return said, {
        name: field_of(row, "multiple_choice", str, path, f"the prediction for {name}") for name, row in content.items()
    }


def _counts(asked: Mapping[str, Asked], name: str) -> bool:
    """Whether a prediction is to be scored; one for what is not asked is kept, to be refused."""
    return name not in asked or not asked[name].difficult


def _chose_right(row: Asked, chosen: Mapping[str, str]) -> bool:
    if row.correct is None:
        raise EvaluationError(f"Question {row.id} has no correct_choice_idx.", "Only a dataset's server has a test's.")
    if chosen[row.id] not in row.choices:
        raise EvaluationError(
            f"The multiple_choice {chosen[row.id]!r} for question {row.id} is none of its choices.",
            f"They are {', '.join(map(repr, row.choices))}.",
        )
    return chosen[row.id] == row.choices[row.correct]


def _answerability(
    arguments: argparse.Namespace, asked: Sequence[Asked]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Official numbers of who can tell which questions cannot be answered, in percent."""
    path = arguments.answerability
    if path is None:
        return {}, {}
    if asked[0].answerable is None:
        raise EvaluationError(f"--answerability {path}: the annotations have no 'answerable'.", "Only VizWiz has it.")
    rows = read_any(path)
    given: dict[str, float] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        name = field_of(row, "image", str, path, f"row {number}")
        value = field_of(row, "answerable", (int, float), path, f"the prediction for {name}")
        if name in given or not 0 <= value <= 1:
            problem = "stands twice" if name in given else f"is {value}"
            raise EvaluationError(f"{path}: 'answerable' of {name} {problem}.", "Give each image one number, 0 to 1.")
        given[name] = float(value)
    check_complete([row.id for row in asked], given, path)
    found, missing = answerability([bool(row.answerable) for row in asked], [given[row.id] for row in asked])
    return {"answerability": {name: 100 * value for name, value in found.items()}}, missing


def _records(asked: Sequence[Asked], said: Mapping[str, str], accuracy: Mapping[str, float]) -> list[Record]:
    return [
        Record(
            benchmark="vqa",
            metric="accuracy",
            control="",
            split="",
            example_id=row.id,
            cluster_id=row.image or row.id,
            kind=row.answer_type,
            prompt=row.text,
            prediction=said[row.id],
            references=row.answers,
            score=accuracy[row.id],
        )
        for row in asked
    ]
