"""The ``evaluate`` stage: one arm's model on one suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas  # noqa: F401  (pyarrow loads it at its first use: here a fork server does so once for all jobs)

import lavit.data
import lavit.model
from evals.curve import Line, score_curve
from evals.records import replace_file
from evals.runner import build_suite, evaluate, leave_ledger
from lavit.data import Corpus
from lavit.stages.context import StageContext
from lavit.stages.recipe import STAGES


def arm_curve(folders: Sequence[Path], corpus: Corpus) -> list[Line]:
    """Scores on the way of an arm through its training stages; without those of a trunk after its end branched off.

    Args:
        folders: of the stages, in order; the last one says at which step it began.
        corpus: what the predictions are about.
    """
    begins = int(json.loads((folders[-1] / "config.json").read_text())["begins_at"])
    trunk = score_curve([folder / "validation.jsonl" for folder in folders[:-1]], corpus)
    return [point for point in trunk if point["step"] <= begins] + score_curve(
        [folders[-1] / "validation.jsonl"], corpus
    )


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
    points = arm_curve(trained, corpus)
    lines = "".join(json.dumps(point) + "\n" for point in points)
    replace_file(context.out / "curve.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    leave_ledger(context, result)
