"""Judging drawings again after another pixel decoder painted them: what was drawn stays, only the paint is new.

A drawing is kept as the features that the tokenizer's decoder made of the arm's visual tokens (float16, in
``drawings-<benchmark>.safetensors``). They are painted and judged here in the batches of the evaluation, by its own
benchmark. The ceiling is not kept: real images go through the arm's own tokenizer again, and then the new decoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

import lavit.data
import lavit.model
import lavit.pixels
from evals.benchmark import CEILING, Batch
from evals.benchmarks.t2i import TextToImage
from evals.errors import EvaluationError
from evals.records import Record, load_records
from evals.runner import build_suite
from evals.sitting import Sitting
from lavit.data.protocol import Corpus
from lavit.model.painting import to_uint8

BEFORE = "before_"  # prefix in ``aux`` of what the first judgement gave


def drawings(evaluated: Path, benchmark: str) -> Path:
    """Where an evaluation keeps what was drawn for a benchmark."""
    return evaluated / f"drawings-{benchmark}.safetensors"


def rejudge(
    config: Mapping[str, Any],
    folders: Mapping[str, Path],
    evaluated: Path,
    seed: int,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Record]:
    """Judge an evaluated run's drawings as another pixel decoder paints them.

    Args:
        config: what the evaluation read: ``data`` and ``suite``.
        folders: finished folder of each stage, with that of the new decoder for ``pixels``.
        evaluated: the finished folder of the run's evaluation.
        seed: the run's seed.
        out: pictures go to ``samples/`` in it.
        progress: called as ``progress(batches done, batches in all)``.

    Returns:
        Records of every benchmark that has drawings, with ``before_<metric>`` in ``aux`` for each number that the
        first judgement gave of the same example.

    Raises:
        EvaluationError: the arm's tokenizer paints by itself.
    """
    torch.set_num_threads(1)
    corpus = lavit.data.build(config["data"])
    model: Any = lavit.model.load(dict(folders))
    if model.tokenizer.paints:
        raise EvaluationError(
            "The tokenizer of this arm paints its drawings itself: no pixel decoder changes them.",
            "Judge again arms whose tokenizer gives features.",
        )
    decoder = lavit.pixels.load(folders["pixels"])
    sitting = Sitting(model, corpus, seed, out)
    before = {_identity(record): record for record in load_records(evaluated / "records.parquet")}
    batches = list(_batches(config["suite"], corpus, evaluated))
    kept: dict[str, dict[str, np.ndarray]] = {}
    records: list[Record] = []
    for done, (benchmark, batch) in enumerate(batches):
        if batch.control == CEILING:
            found = benchmark.ask(batch, sitting).records
        else:
            if benchmark.name not in kept:
                kept = {benchmark.name: load_file(drawings(evaluated, benchmark.name))}
            images, tokens_B = _paint(decoder, kept[benchmark.name], batch)
            found = benchmark.assess(batch, sitting, images, tokens_B)
        records += [_with_before(record, before.get(_identity(record))) for record in found]
        progress(done + 1, len(batches))
    return records


def _batches(suite: Mapping[str, Any], corpus: Corpus, evaluated: Path) -> Iterator[tuple[TextToImage, Batch]]:
    """The evaluation's own batches: a judge may compare an image with its neighbours in the batch."""
    for benchmark in build_suite(suite):
        if isinstance(benchmark, TextToImage) and drawings(evaluated, benchmark.name).is_file():
            yield from ((benchmark, batch) for batch in benchmark.batches(corpus))


@torch.no_grad()
def _paint(decoder: torch.nn.Module, kept: Mapping[str, np.ndarray], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8, visual tokens) of the examples of a batch."""
    row_of = {int(index): row for row, index in enumerate(kept["index"])}
    rows = [row_of[int(index)] for index in batch.asked_B]
    features = torch.from_numpy(kept["features"][rows].astype(np.float32))
    return to_uint8(decoder(features)), kept["tokens"][rows]


def _identity(record: Record) -> tuple[str, str, str]:
    return record.benchmark, record.control, record.example_id


def _with_before(record: Record, old: Record | None) -> Record:
    if old is None:
        return record
    numbers = {old.metric: old.score, **old.aux}
    known = {name for name in numbers if name == record.metric or name in record.aux}
    before = {f"{BEFORE}{name}": numbers[name] for name in numbers if name in known}
    return dataclasses.replace(record, aux={**record.aux, **before})
