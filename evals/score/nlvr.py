"""NLVR and NLVR2: accuracy, and the share of sentences that are judged rightly every time (consistency).

Data are the datasets' JSON lines. Predictions are lines "dev-1572-0-0.png,true" (NLVR: six images an example) or
"dev-0-0-0,true" (NLVR2) as the official code takes them, an object {name: "true"}, or rows {identifier, prediction}.
Totals are shares 0-1, as the official code prints them (accuracy is called precision there).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from evals.datasets.nlvr_files import Claim, read_nlvr
from evals.datasets.reading import read_text, refuse_duplicates
from evals.datasets.rows import read_any
from evals.errors import EvaluationError
from evals.metrics import nlvr
from evals.records import Record
from evals.score.predictions import check_complete
from evals.score.scored import Scored, hashes

EXAMPLES = """\
examples:
  lavit score nlvr --data dev.json --predictions predictions.csv
  lavit score nlvr --data nlvr1_dev.jsonl.gz --predictions predictions.json --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--data", type=Path, metavar="D.jsonl", required=True)
    parser.add_argument("--predictions", type=Path, metavar="P", required=True)


def score(arguments: argparse.Namespace) -> Scored:
    """Score the predictions."""
    claims = read_nlvr(arguments.data)
    said = _read(arguments.predictions, numbered=claims[0].id != claims[0].identifier)
    check_complete([claim.id for claim in claims], said, arguments.predictions)
    right = [nlvr.is_right(said[claim.id], claim.label) for claim in claims]
    totals = {
        "accuracy": sum(right) / len(right),
        "consistency": nlvr.consistency([nlvr.sentence_of(claim.identifier) for claim in claims], right),
    }
    fingerprint = {
        "metric": nlvr.NAME,
        "claims": len(claims),
        "files": hashes(arguments.data, arguments.predictions),
    }
    records = [_record(claim, said[claim.id], hit) for claim, hit in zip(claims, right, strict=True)]
    return Scored(totals, records, fingerprint)


def _read(path: Path, numbered: bool) -> dict[str, str]:
    """Claim → prediction; NLVR's names of images lose split and ending: ``dev-1572-0-0.png`` is ``1572-0-0``."""
    named = path.name.removesuffix(".gz").endswith(".csv") or not read_text(path).lstrip().startswith(("{", "["))
    pairs = _table(path) if named else _json(path)
    found = []
    for name, value in pairs:
        plain = name.removesuffix(".png")
        short = "-".join(plain.split("-")[1:]) if numbered and plain.count("-") == 3 else plain
        given = str(value).lower() if isinstance(value, bool) else value
        if not isinstance(given, str) or given.lower() not in ("true", "false"):
            raise EvaluationError(f"{path}: the prediction for {name} is {value!r}.", "It is true or false.")
        found.append((short, given))
    refuse_duplicates((name for name, _ in found), path, "the prediction for")
    return dict(found)


def _table(path: Path) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for number, row in enumerate(csv.reader(read_text(path).splitlines()), 1):
        if row:
            if len(row) < 2:
                raise EvaluationError(f"{path}: line {number} has no comma.", 'It is like "dev-1572-0-0.png,true".')
            pairs.append((row[0].strip(), row[1].strip()))
    return pairs


def _json(path: Path) -> list[tuple[str, object]]:
    content = read_any(path)
    if isinstance(content, dict) and "identifier" not in content:
        return list(content.items())
    pairs: list[tuple[str, object]] = []
    for number, row in enumerate(content if isinstance(content, list) else [content], 1):
        if not isinstance(row, dict) or not isinstance(row.get("identifier"), str) or "prediction" not in row:
            raise EvaluationError(f"{path}: row {number} is not {{identifier, prediction}}.", "Mend it.")
        pairs.append((row["identifier"], row["prediction"]))
    return pairs


def _record(claim: Claim, prediction: str, right: bool) -> Record:
    return Record(
        benchmark="nlvr",
        metric="accuracy",
        control="",
        split="",
        example_id=claim.id,
        cluster_id=claim.id,
        kind=claim.label,
        prompt=claim.text,
        prediction=prediction,
        references=(claim.label,),
        score=float(right),
    )
