"""The ``evaluate`` stage: one arm's model on one suite."""

from __future__ import annotations

import json

from omegaconf import OmegaConf

import lavit.data
import lavit.model
from evals.curve import score_curve
from evals.records import replace_file
from evals.runner import build_suite, evaluate, write_json
from lavit.stages.context import StageContext


def run(context: StageContext) -> None:
    """Evaluate the model that ``context.inputs`` make up, into ``context.out``.

    Reads ``data`` and ``suite``. Writes ``records.parquet``, ``metrics.json`` and what
    :func:`evals.runner.evaluate` lists besides, ``curve.jsonl`` (scores of what the arm said on the validation split
    while it was trained), ``config.json``, and a ledger of zeros: evaluation trains nothing.
    """
    suite = build_suite(context.config.suite)
    corpus = lavit.data.build(context.config.data)
    model = lavit.model.load(context.inputs)
    result = evaluate(model, corpus, suite, context.out, seed=context.seed, progress=context.progress)
    points = score_curve([context.inputs[stage] / "validation.jsonl" for stage in ("pretrain", "cooldown")], corpus)
    lines = "".join(json.dumps(point) + "\n" for point in points)
    replace_file(context.out / "curve.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    write_json(context.out / "config.json", OmegaConf.to_container(context.config, resolve=True))
    ledger = {
        "examples_understanding": 0,
        "examples_generation": 0,
        "examples_text": 0,
        "supervised_text_tokens": 0,
        "supervised_visual_positions": 0,
        "positions": 0,
        "flops": 0.0,
        "params_total": 0,
        "params_trainable": 0,
        "steps": 0,
        "records": len(result.records),
    }
    write_json(context.out / "ledger.json", ledger)
