"""Stages of a few bytes with a known best learning rate, for tests of what searches it."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

BEST = {"unfrozen": 1e-3, "frozen": 5e-3, "lora": 2e-3}


def share(context):
    """A stage that leaves nothing to compare."""
    (context.out / "weights.txt").write_text(context.stage)
    (context.out / "metrics.json").write_text(json.dumps({"caption/CIDEr": 1.0}))


def train(context):
    """Leave a validation curve that ends at minus the squared distance, in decades, from the best learning rate."""
    if os.environ.get("STAGES_LOG"):
        with Path(os.environ["STAGES_LOG"]).open("a") as file:
            file.write(f"{context.out.name}\n")
    work, lr = context.config.work, float(context.config.optimizer.lr)
    if work.broken:
        raise KeyError("a bug in this arm")
    if lr > work.nan_above:
        raise ValueError("the loss is nan at step 3")
    distance = math.log10(lr / BEST[context.config.llm.name])
    score = 0.25 - (distance**2) + work.noise * context.seed + 0.01 * context.config.optimizer.depth
    with (context.out / "history.jsonl").open("w") as file:
        for step in (1, 2, 3, 4):
            time.sleep(work.seconds)
            context.progress(step, 4, {})
            file.write(json.dumps({"step": step, "train/loss": 1.0, "val/score": score - 1 / step}) + "\n")
            file.flush()
    (context.out / "metrics.json").write_text(json.dumps({"tokens/mean": 4.0}))
