"""Metrics again from what an evaluation left behind, without its model: records.parquet and protocol.json suffice.

Distances between sets of images also need the features kept beside the records (:meth:`Benchmark.measure_set`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.benchmark import Benchmark
from evals.errors import EvaluationError
from evals.records import Record, load_records
from lavit.build import build


def recompute(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Score an evaluation's records again and sum them up.

    Captions and answers are scored anew from prediction and references, and the controls that need no model are made
    anew; what was judged by looking at pixels or features keeps its score. A changed metric thus reaches finished runs.

    Args:
        folder: of a finished evaluation.

    Returns:
        Metrics as ``metrics.json`` has them, and metric → why it is missing. What the stage ``inspect`` measures of a
        tokenizer itself stands in no record and is not among them.

    Raises:
        EvaluationError: a file is missing, or was left by a suite that cannot be built again.
    """
    protocol = _read(folder / "protocol.json")
    if not (folder / "records.parquet").is_file():
        raise EvaluationError(f"{folder} has no records.parquet.", "Name the folder of a finished evaluation.")
    by_benchmark: dict[str, list[Record]] = {}
    for record in load_records(folder / "records.parquet"):
        by_benchmark.setdefault(record.benchmark, []).append(record)
    metrics: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name, records in by_benchmark.items():
        benchmark = _rebuild(name, protocol.get(name) or {}, folder)
        found, reasons = benchmark.summarise(benchmark.rescore(records))
        of_set, why_not = benchmark.measure_set(folder)
        metrics |= found | of_set
        missing |= reasons | why_not
    return metrics, missing


def _rebuild(name: str, described: dict[str, Any], folder: Path) -> Benchmark:
    entry = described.get("entry")
    if not entry:
        raise EvaluationError(
            f"{folder / 'protocol.json'} does not say how benchmark {name!r} was built.",
            "It is older than this, or was made without a suite: evaluate again.",
        )
    benchmark = build(entry, name=name)
    assert isinstance(benchmark, Benchmark)
    return benchmark


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise EvaluationError(f"There is no {path}.", "Name the folder of a finished evaluation.") from error
    except ValueError as error:
        raise EvaluationError(f"{path} is not readable JSON: {error}.", "Evaluate again.") from error
