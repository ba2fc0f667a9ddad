"""From a task's requests to numbers: what ``lm_eval.evaluate`` does, for a few documents at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.errors import EvaluationError
from evals.harness.docs import Doc
from evals.records import Record

ITEM = "_item"
"""Ends the names of what a metric of the whole set is computed from: one number of a document, or two."""
_NUMBER = (bool, int, float, np.number, np.bool_)
_OF_TEXTS = ("bleu", "chrf", "chrf++", "ter")


def answer(lm: Any, docs: Sequence[Doc]) -> None:
    """Put the documents' requests to a model, all of one kind at once, and filter what it says."""
    kinds: dict[str, list[Any]] = defaultdict(list)
    tasks: dict[int, tuple[Any, list[Any]]] = {}
    for doc in docs:
        for request in doc.requests:
            request.resps, request.filtered_resps = [], {}
            kinds[request.request_type] += [request] * (request.repeats or 1)
            tasks.setdefault(id(doc.task), (doc.task, []))[1].append(request)
    for kind, requests in kinds.items():
        for request, said in zip(requests, getattr(lm, kind)(requests), strict=True):
            request.resps.append(said)
    for task, requests in tasks.values():
        for ensemble in task._filters:
            ensemble.apply(requests)


def measure(doc: Doc) -> dict[str, tuple[float, dict[str, float]]]:
    """The task's metrics of one document, each with what its value for the whole set needs.

    Those of the first filter have their own names, those of a further one its name behind theirs.
    """
    values: dict[str, tuple[float, dict[str, float]]] = {}
    for number, key in enumerate(doc.requests[0].filtered_resps):
        found = doc.task.process_results(doc.doc, [request.filtered_resps[key] for request in doc.requests])
        for metric, value in found.items():
            name = metric if number == 0 else f"{metric}_{key}"
            values[name] = _number(doc, metric, name, value)
    return values


def _number(doc: Doc, metric: str, name: str, value: Any) -> tuple[float, dict[str, float]]:
    aggregate = doc.task.aggregation().get(metric)
    if isinstance(value, _NUMBER) and getattr(aggregate, "__name__", "mean") in ("mean", "nanmean"):
        return float(value), {}
    items = value if isinstance(value, tuple | list) else [value]
    kept = {}
    if all(isinstance(item, _NUMBER) for item in items):
        kept = {f"{name}{ITEM}{place}": float(item) for place, item in enumerate(items)}
    try:
        alone = float(aggregate([value]))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise EvaluationError(
            f"lm-eval's {doc.name}: {metric} of document {doc.number} alone is no number ({error}).",
            "Name another of its metrics: suite.benchmarks.NAME.metric=...",
        ) from error
    if not math.isfinite(alone):
        raise EvaluationError(f"lm-eval's {doc.name}: {metric} of document {doc.number} is {alone}.")
    return alone, kept


def of_the_set(records: Sequence[Record], metric: str) -> float | None:
    """A metric of the whole set from its records; None where it is a plain mean, or the task's own business."""
    from lm_eval.api.registry import get_metric_aggregation

    first = records[0]
    items: list[Any]
    names = sorted(name for name in first.aux if name.startswith(f"{metric}{ITEM}"))
    if names:
        items = [row.aux[names[0]] if len(names) == 1 else tuple(row.aux[n] for n in names) for row in records]
    elif metric in _OF_TEXTS and metric == first.metric:
        items = [(row.references[0], row.prediction) for row in records]
    else:
        return None
    try:
        aggregate = get_metric_aggregation(metric)
    except (KeyError, ValueError):
        return None
    return None if aggregate is None else float(aggregate(items))


def said(doc: Doc) -> str:
    """What the model said: a choice, a text, or a log-likelihood."""
    first = next(iter(doc.requests[0].filtered_resps))
    responses = [request.filtered_resps[first] for request in doc.requests]
    kind = doc.task.OUTPUT_TYPE
    if kind == "multiple_choice":
        choices = _choices(doc)
        likelihoods = [response[0] for response in responses[: len(choices)]]
        return str(choices[int(np.argmax(likelihoods))])
    if kind == "generate_until":
        text = responses[0]
        return str(text[0] if isinstance(text, list) and text else text)
    value = responses[0][0] if isinstance(responses[0], tuple | list) else responses[0]
    return f"{float(value):.6f}"


def right(doc: Doc) -> tuple[str, ...]:
    """What is right, in words."""
    target = doc.task.doc_to_target(doc.doc)
    choices = _choices(doc) if doc.task.OUTPUT_TYPE == "multiple_choice" else None
    targets = target if isinstance(target, list) else [target]
    return tuple(str(choices[t] if choices and isinstance(t, int) else t) for t in targets)


def _choices(doc: Doc) -> list[Any]:
    if getattr(doc.task, "multiple_input", 0):
        return [request.args[0] for request in doc.requests]
    return list(doc.task.doc_to_choice(doc.doc))
