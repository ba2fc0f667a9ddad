"""ScienceQA accuracy: which option each free answer means, and whether it is the right one.

Problems are ScienceQA's problems.json (with --splits pid_splits.json only those of --split). Predictions are a list or
JSON lines of {question_id, text}, an object {id: text}, or one with such an object as "outputs". An answer means an
option if it is a letter, starts with "B. ", or says "The answer is B." once. Totals are in percent.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from evals.datasets.reading import field_of
from evals.datasets.rows import read_any
from evals.datasets.scienceqa_files import Problem, read_problems
from evals.metrics import scienceqa
from evals.records import Record
from evals.score.predictions import check_complete, read_predictions
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score scienceqa --problems problems.json --splits pid_splits.json --predictions answers.jsonl
  lavit score scienceqa --problems problems.json --splits pid_splits.json --images-only --predictions P.jsonl
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--problems", type=Path, metavar="problems.json", required=True)
    parser.add_argument("--splits", type=Path, metavar="pid_splits.json", help="which problems are of which split")
    parser.add_argument("--split", default="test", help="a split of --splits (test)")
    parser.add_argument("--images-only", action="store_true", help="only problems with a picture")
    parser.add_argument("--predictions", type=Path, metavar="P", required=True)


def score(arguments: argparse.Namespace) -> Scored:
    """Score the predictions."""
    problems = read_problems(arguments.problems, arguments.splits, arguments.split)
    counted = [problem for problem in problems if problem.image or not arguments.images_only]
    left_out = {problem.id for problem in problems} - {problem.id for problem in counted}
    said = _read(arguments.predictions)
    check_complete(
        [problem.id for problem in counted], [name for name in said if name not in left_out], arguments.predictions
    )
    right = {problem.id: is_right(problem, said[problem.id]) for problem in counted}
    groups: dict[str, list[bool]] = defaultdict(list)
    for problem in counted:
        groups[problem.subject].append(right[problem.id])
    pictured = [right[problem.id] for problem in counted if problem.image]
    unread = [scienceqa.option_of(said[p.id], len(p.choices)) == scienceqa.FAILED for p in counted]
    totals: dict[str, Any] = {
        "accuracy": _percent(list(right.values())),
        "by_subject": {subject: _percent(hits) for subject, hits in groups.items() if subject},
        "correct": sum(right.values()),
        "count": len(right),
        "no_option": _percent(unread),
    }
    missing = {}
    if pictured:
        totals["image_accuracy"] = _percent(pictured)
    else:
        missing["image_accuracy"] = "no problem has a picture"
    fingerprint = {
        "metric": scienceqa.NAME,
        "split": arguments.split if arguments.splits else "all",
        "files": hashes(arguments.problems, arguments.splits, arguments.predictions),
    }
    return Scored(totals, [_record(p, said[p.id], right[p.id]) for p in counted], fingerprint, missing)


def is_right(problem: Problem, prediction: str) -> bool:
    """Whether a free answer means the right option."""
    return scienceqa.option_of(prediction, len(problem.choices)) == problem.answer


def _read(path: Path) -> dict[str, str]:
    content = read_any(path)
    if isinstance(content, dict) and isinstance(content.get("outputs"), dict):
        return {name: field_of(content["outputs"], name, str, path, f"output {name}") for name in content["outputs"]}
    return read_predictions(path, ("question_id", "pid"), ("text", "output", "answer"))


def _percent(hits: list[bool]) -> float:
    return 100 * sum(hits) / len(hits)


def _record(problem: Problem, prediction: str, right: bool) -> Record:
    return Record(
        benchmark="scienceqa",
        metric="accuracy",
        control="",
        split="",
        example_id=problem.id,
        cluster_id=problem.id,
        kind=problem.subject,
        prompt=problem.text,
        prediction=prediction,
        references=(scienceqa.LETTERS[problem.answer],),
        score=float(right),
    )
