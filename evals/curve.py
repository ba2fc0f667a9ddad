"""The learning curve's scores: what an arm said on the validation split while it was trained.

Training writes predictions and leaves scoring to the evaluator, so that a point of the curve and the final number
come from one and the same code.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.errors import EvaluationError
from evals.metrics import vqa
from evals.metrics.cider import score_captions
from lavit.data.protocol import Corpus

Line = dict[str, Any]


def score_curve(files: Sequence[Path], corpus: Corpus) -> list[Line]:
    """Points ``{step, flops, name, value}`` from the ``validation.jsonl`` files of an arm's stages, in their order.

    Args:
        files: files of lines ``{step, flops, benchmark, index, question_id, prediction}``; those that do not exist
            (a stage without a curve) give no points.
        corpus: where the predictions' examples are from.

    Raises:
        EvaluationError: a line of an unknown benchmark, or about a question that the corpus does not ask.
    """
    groups: dict[tuple[int, float, str], list[Line]] = defaultdict(list)
    for file in files:
        if file.exists():
            for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
                groups[line["step"], line["flops"], line["benchmark"]].append(line)
    points = []
    for (step, flops, benchmark), lines in groups.items():
        if benchmark not in SCORERS:
            raise EvaluationError(f"The learning curve has predictions for an unknown benchmark, {benchmark!r}.")
        metric, score = SCORERS[benchmark]
        points.append(
            {"step": step, "flops": flops, "name": f"val/{benchmark}/{metric}", "value": score(lines, corpus)}
        )
    return points


def _cider(lines: list[Line], corpus: Corpus) -> float:
    references = corpus.captions("val", np.array([line["index"] for line in lines]))
    return float(np.mean(score_captions([line["prediction"] for line in lines], references)))


def _accuracy(lines: list[Line], corpus: Corpus) -> float:
    index = np.array([line["index"] for line in lines])
    right = []
    for line, asked in zip(lines, corpus.questions("val", index, 1), strict=True):
        known = {question.id: question for question in asked}
        if line["question_id"] not in known:
            raise EvaluationError(f"The learning curve answers a question that is not asked: {line['question_id']!r}.")
        question = known[line["question_id"]]
        right.append(vqa.is_right(line["prediction"], [question.answer, *question.answers]))
    return float(np.mean(right))


SCORERS: dict[str, tuple[str, Callable[[list[Line], Corpus], float]]] = {
    "caption": ("CIDEr", _cider),
    "vqa": ("accuracy", _accuracy),
}
