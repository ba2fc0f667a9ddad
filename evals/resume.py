"""Parts of an unfinished evaluation: one a batch, written whole or not at all, so that none is asked twice."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from evals.benchmark import Batch, Benchmark
from evals.records import Record, load_part, replace_file, save_part
from evals.sitting import Sitting
from lavit.data.protocol import Examples

log = logging.getLogger(__name__)


def start_or_go_on(parts: Path, suite: Sequence[Benchmark], sources: Sequence[Examples], seed: int) -> None:
    """Keep earlier parts only if they were made under this very protocol."""
    plan = {
        "suite": {benchmark.name: benchmark.settings() for benchmark in suite},
        "corpora": [source.describe() for source in sources],
        "seed": seed,
    }
    text = json.dumps(plan, sort_keys=True, default=str)
    path = parts / "plan.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        log.warning("The parts in %s were made under another protocol: starting afresh", parts)
        shutil.rmtree(parts)
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def part_of(folder: Path, batch: Batch) -> Path:
    """The file whose presence says that a batch is done."""
    return folder / f"{batch.name}.parquet"


def ask_once(folder: Path, benchmark: Benchmark, batch: Batch, sitting: Sitting) -> list[Record]:
    """The batch's records: from its part if there is one, else from the model."""
    part = part_of(folder, batch)
    if not part.exists():
        answers = benchmark.ask(batch, sitting)
        if answers.arrays:
            # Before the part, whose presence says that the batch is done.
            arrays = {name: np.ascontiguousarray(values) for name, values in answers.arrays.items()}
            replace_file(folder / f"{batch.name}.safetensors", lambda temporary: save_file(arrays, temporary))
        save_part(part, answers.records)
    return load_part(part)


def merge_arrays(folder: Path, batches: Sequence[Batch], path: Path) -> None:
    """Put the arrays of all batches together; nothing is written where there are none."""
    files = [file for batch in batches if (file := folder / f"{batch.name}.safetensors").exists()]
    if files:
        loaded = [load_file(file) for file in files]
        merged = {name: np.concatenate([part[name] for part in loaded]) for name in sorted(loaded[0])}
        replace_file(path, lambda temporary: save_file(merged, temporary))
