"""GQA's accuracy, consistency, validity, plausibility and distribution.

Reads GQA's own files: an object of questions by id, a list of {questionId, prediction}, and with --choices the valid
and plausible answers. Only balanced questions count; consistency needs predictions also for the questions that they
entail (val_all_questions.json), grounding --attentions and --scenes. Totals are in percent under the official names,
but for distribution (0 is best).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evals.datasets.gqa_files import GqaRow, read_attention, read_choices, read_gqa, read_regions
from evals.errors import EvaluationError
from evals.metrics import gqa, gqa_grounding
from evals.records import Record
from evals.score.predictions import check_complete, read_predictions
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score gqa --questions testdev_balanced_questions.json --predictions answers.json
  lavit score gqa --questions val_all_questions.json --choices val_choices.json --predictions answers.json --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--questions", type=Path, metavar="Q.json", required=True)
    parser.add_argument("--predictions", type=Path, metavar="P.json", required=True)
    parser.add_argument("--choices", type=Path, metavar="C.json", help="for validity and plausibility")
    parser.add_argument(
        "--attentions", type=Path, metavar="A.json", help="a list of {questionId, attention}: grounding"
    )
    parser.add_argument("--scenes", type=Path, metavar="S.json", help="the scene graphs, for grounding")


def score(arguments: argparse.Namespace) -> Scored:
    """Score the predictions."""
    rows = read_gqa(arguments.questions)
    said = read_predictions(arguments.predictions, ("questionId", "question_id"), ("prediction", "answer"))
    balanced = {name: row for name, row in rows.items() if row.scoring.balanced}
    if not balanced:
        raise EvaluationError(f"{arguments.questions} has no balanced question.", "Only these count.")
    check_complete(balanced, {name for name in said if name not in rows or name in balanced}, arguments.predictions)
    questions = {name: row.scoring for name, row in rows.items()}
    found = gqa.accuracies(questions, said)
    totals: dict[str, Any] = dict(found.pop(""))
    missing = {name: f"there is no {name} question" for name in ("binary", "open") if name not in totals}
    if arguments.choices is not None:
        choices = read_choices(arguments.choices, rows)
        for total, key in (("validity", "valid"), ("plausibility", "plausible")):
            hits = [gqa.among(row.scoring, said[name], choices[name][key]) for name, row in balanced.items()]
            totals[total] = gqa.percent(hits)
    else:
        missing |= dict.fromkeys(("validity", "plausibility"), "needs --choices (published for train and val)")
    unknown = _unknown(balanced, rows, said)
    consistency = None if unknown else gqa.consistency(questions, said)
    if consistency is not None:
        totals["consistency"] = consistency
    else:
        missing["consistency"] = unknown or "no right answer entails another question"
    distribution = gqa.distribution(questions, said)
    if distribution is not None:
        totals["distribution"] = distribution
    else:
        missing["distribution"] = "no balanced question has a global group"
    if arguments.attentions is not None:
        totals["grounding"] = _grounding(arguments.attentions, arguments.scenes, balanced)
    fingerprint = {
        "metric": gqa.NAME,
        "questions": len(balanced),
        "files": hashes(
            arguments.questions, arguments.choices, arguments.predictions, arguments.attentions, arguments.scenes
        ),
    }
    records = [_record(row, said[name]) for name, row in balanced.items()]
    return Scored(totals | found, records, fingerprint, missing)


def _grounding(path: Path, scenes: Path | None, balanced: dict[str, GqaRow]) -> float:
    """Mean over balanced questions, in percent."""
    if scenes is None:
        raise EvaluationError(
            f"--attentions {path} needs --scenes.", "Give the scene graphs of the split (published for train and val)."
        )
    maps = read_attention(path)
    check_complete(balanced, [name for name in maps if name in balanced], path)
    regions = read_regions(scenes, balanced.values())
    return 100 * sum(gqa_grounding.grounding(maps[name], regions[name]) for name in balanced) / len(balanced)


def _unknown(balanced: dict[str, GqaRow], rows: dict[str, GqaRow], said: dict[str, str]) -> str:
    """Why consistency cannot be computed; "" where it can."""
    for name, row in balanced.items():
        for other in row.scoring.entailed:
            if other not in rows or other not in said:
                where = "among the questions" if other not in rows else "predicted"
                return f"question {other}, which {name} entails, is not {where}; use all questions, not the balanced"
    return ""


def _record(row: GqaRow, prediction: str) -> Record:
    return Record(
        benchmark="gqa",
        metric="accuracy",
        control="",
        split="",
        example_id=row.id,
        cluster_id=row.image or row.id,
        kind=row.scoring.structural,
        prompt=row.text,
        prediction=prediction,
        references=(row.scoring.answer,),
        score=float(prediction == row.scoring.answer),
    )
