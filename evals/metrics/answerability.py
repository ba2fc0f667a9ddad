"""Whether a model can tell which questions cannot be answered from their image (VizWiz's second task)."""

from __future__ import annotations

from collections.abc import Sequence

NAME = "answerability-1"
"""Version of these rules, part of an evaluation's fingerprint."""


def answerability(truth: Sequence[bool], said: Sequence[float]) -> tuple[dict[str, float], dict[str, str]]:
    """Average precision and F1 of finding *un*answerable questions, 0-1, and why one is missing.

    Average precision is the sum over distinct scores of precision times the recall gained; F1 is at 0.5.

    Args:
        truth: whether each question can be answered.
        said: how sure the model is that it can, 0 to 1.
    """
    sure = [1.0 - value for value in said]
    positives = sum(not can for can in truth)
    hits = sum(not can and value > 0.5 for can, value in zip(truth, sure, strict=True))
    denominator = positives + sum(value > 0.5 for value in sure)
    found = {"f1_score": 2 * hits / denominator if denominator else 0.0}
    if not positives:
        return found, {"average_precision": "every question can be answered"}
    order = sorted(zip(sure, truth, strict=True), key=lambda pair: -pair[0])
    total, right, before = 0.0, 0, 0
    for place, (value, can) in enumerate(order, 1):
        right += not can
        if place == len(order) or order[place][0] != value:  # the last of its score: ties have no order
            total += (right - before) / positives * right / place
            before = right
    return {"average_precision": total} | found, {}
