"""The ``evaluate`` stage: one arm's model on one suite."""

from __future__ import annotations

import json
from pathlib import Path

import pandas  # noqa: F401  (pyarrow loads it at its first use: here a fork server does so once for all jobs)

import lavit.data
import lavit.model
from evals.curve import score_curve
from evals.records import replace_file
from evals.runner import build_suite, evaluate, leave_ledger
from lavit.stages.context import StageContext
from lavit.stages.recipe import STAGES


def run(context: StageContext) -> None:
    """Evaluate the model that ``context.inputs`` make up, into ``context.out``.

    Reads ``data`` and ``suite``. Writes ``records.parquet``, ``metrics.json`` and what
    :func:`evals.runner.evaluate` lists besides, ``curve.jsonl`` (scores of what the arm said on the validation split
    while it was trained), ``config.json``, and a ledger of zeros: evaluation trains nothing.
    """
    suite = build_suite(context.config.suite)
    corpus = lavit.data.build(context.config.data)
    model = lavit.model.load(context.inputs)
    root = context.config.data.get("root")
    result = evaluate(
        model, corpus, suite, context.out, context.seed, context.progress, Path(root).expanduser() if root else None
    )
    trained = [context.inputs[stage] for stage in STAGES if stage in context.inputs]
    points = score_curve([folder / "validation.jsonl" for folder in trained], corpus)
    lines = "".join(json.dumps(point) + "\n" for point in points)
    replace_file(context.out / "curve.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    leave_ledger(context, result)
