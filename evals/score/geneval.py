"""GenEval: what share of images hold the objects, counts, colours and places that their prompts name.

Reads cases (JSON with a list "cases", or JSON lines), each an image: metadata (a line of GenEval's prompt file),
detections (class → [left, top, right, bottom, confidence] …) and detection_colors (class → a colour for each
detection, where the prompt asks for one). Or the results.jsonl of GenEval's own detector, already judged.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.datasets.geneval_files import Case, check_metadata, read_cases
from evals.datasets.reading import field_of, read_jsonl
from evals.errors import EvaluationError
from evals.features.weights import content_hash
from evals.metrics import geneval
from evals.records import Record
from evals.score.scored import Scored

EXAMPLES = """\
examples:
  lavit score geneval --cases detections.jsonl --json
  lavit score geneval --results results.jsonl --records geneval.parquet
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the file."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--cases", metavar="FILE", type=Path, help="detections of each image (.json, .jsonl, .gz)")
    given.add_argument("--results", metavar="JSONL", type=Path, help="what GenEval's evaluate_images.py writes")


def score(arguments: argparse.Namespace) -> Scored:
    """``overall``, the mean over kinds of prompts, as shares of 1; one record an image.

    Raises:
        EvaluationError: the file is not as it should be; names file and case.
    """
    path = arguments.cases or arguments.results
    if arguments.cases:
        judged = [(case.identity, case.metadata, judge_case(case)) for case in read_cases(path)]
    else:
        judged = _read_results(path)
    if not judged:
        raise EvaluationError(f"{path} holds no image.")
    tags = [str(metadata["tag"]) for _, metadata, _ in judged]
    prompts = [json.dumps(metadata, sort_keys=True) for _, metadata, _ in judged]
    totals = geneval.summarise(tags, prompts, [found.correct for *_, found in judged])
    records = [
        Record(
            "geneval",
            "correct",
            "",
            "",
            identity,
            identity,
            found.reason,
            (),
            float(found.correct),
            kind=str(metadata["tag"]),
            prompt=str(metadata["prompt"]),
            order=order,
        )
        for order, (identity, metadata, found) in enumerate(judged)
    ]
    return Scored(totals, records, {"metric": geneval.VERSION, "file": content_hash(path)})


def judge_case(case: Case) -> geneval.Judgement:
    """One image by the rules."""
    kept = geneval.keep(case.detections, case.metadata["tag"])
    return geneval.judge(case.metadata, kept, case.colour)


def _read_results(path: Path) -> list[tuple[str, Mapping[str, Any], geneval.Judgement]]:
    judged = []
    for number, row in read_jsonl(path):
        where = f"line {number}"
        name = field_of(row, "filename", str, path, where)
        correct = row.get("correct")
        if not isinstance(correct, bool):
            raise EvaluationError(f"{path}: {where}: 'correct' is not true or false.", "See docs/benchmarks.md.")
        metadata = row.get("metadata")
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
        check_metadata(metadata, path, where)
        reason = row.get("reason") or ""
        judged.append((name, metadata, geneval.Judgement(correct, str(reason))))
    return judged
