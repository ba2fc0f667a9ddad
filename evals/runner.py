"""Runs a suite: every benchmark, every control, batch after batch; goes on where an earlier attempt stopped.

Each batch leaves a part under ``resume/`` as soon as it is done, written in one step, so that after any
interruption no example is asked twice and none is missing. The merged files do not show where an attempt
broke off.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf
from safetensors.numpy import load_file, save_file

from evals.benchmark import Answers, Batch, Benchmark
from evals.errors import EvaluationError
from evals.pictures import save_picture
from evals.records import Record, load_part, replace_file, save_part, save_records
from evals.sitting import Sitting
from lavit.build import build
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel
    from lavit.stages.context import StageContext

log = logging.getLogger(__name__)

_PICTURES = 64  # evaluated images kept for the report's example browser

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass
class Result:
    """What an evaluation found.

    Attributes:
        records: all records, in the order of the merged file.
        metrics: flat, ``benchmark/metric`` → number, in stored units.
        skipped: benchmark or metric → why it is not among the metrics.
        protocol: benchmark → how its numbers came about; equal protocols are comparable.
    """

    records: list[Record] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    protocol: dict[str, dict[str, Any]] = field(default_factory=dict)


def build_suite(node: Mapping[str, Any]) -> list[Benchmark]:
    """The benchmarks of a suite's config node ``{name, benchmarks: {name: {_target_, ...}}}``.

    Raises:
        EvaluationError: no benchmarks, or an entry that builds something else.
    """
    entries = node.get("benchmarks") or {}
    if not entries:
        raise EvaluationError(f"Suite {node.get('name')!r} has no benchmarks.", "Name at least one in conf/suite.")
    suite = []
    for name, entry in entries.items():
        if entry is None:  # switched off by an override, e.g. suite.benchmarks.t2i=null
            continue
        benchmark = build(entry, name=str(name))
        if not isinstance(benchmark, Benchmark):
            raise EvaluationError(f"suite.benchmarks.{name}: {entry['_target_']} is not a benchmark.")
        suite.append(benchmark)
    return suite


def evaluate(
    model: VisionLanguageModel,
    corpus: Corpus | None,
    suite: list[Benchmark],
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    root: Path | None = None,
    image_size: int | None = None,
) -> Result:
    """Run a suite on a model and write everything that a report needs into ``out``.

    Writes ``records.parquet``, ``metrics.json``, ``skipped.json``, ``protocol.json``, a
    ``drawings-<benchmark>. safetensors`` for each benchmark that draws, ``samples/`` and ``images/``.
    ``resume/`` holds the parts; whoever called may delete it afterwards.

    Args:
        model: the model under test.
        corpus: where the examples are from of benchmarks that have no files of their own.
        suite: from :func:`build_suite`.
        out: the folder to fill; parts of an earlier attempt in it are used.
        seed: the run's seed, for drawing.
        progress: called as ``progress(batches done, batches in all, metrics so far)``.
        root: ``data.root``, the folder of datasets.
        image_size: side in pixels of the images that the model reads; the corpus's where None.

    Raises:
        EvaluationError: a benchmark has no examples, or its records are incomplete or inconsistent.
    """
    result = Result()
    side = image_size or (corpus.image_size if corpus else 224)
    sources = [benchmark.source(corpus, root, side) for benchmark in suite]  # all, before the first work starts
    sittings = {id(source): Sitting(model, source, seed, out) for source in sources}
    parts = out / "resume"
    _start_or_go_on(parts, suite, sources, seed)
    runnable = []
    for benchmark, source in zip(suite, sources, strict=True):
        obstacle = benchmark.obstacle(model, source)
        if obstacle is None:
            runnable.append((benchmark, source, list(benchmark.batches(source))))
        else:
            result.skipped[benchmark.name] = obstacle
    total, done = sum(len(batches) for *_, batches in runnable), 0
    for benchmark, source, batches in runnable:
        sitting = sittings[id(source)]
        answers: list[Record] = []
        for batch in batches:
            answers += _ask_once(parts / benchmark.name, benchmark, batch, sitting)
            done += 1
            if progress is not None:
                progress(done, total, dict(result.metrics))
        # Controls in their order of appearance, examples in evaluation order: independent of how batches were
        # cut.
        controls = {control: place for place, control in enumerate(benchmark.passes())}
        answers.sort(key=lambda record, controls=controls: (controls[record.control], record.order))  # type: ignore[misc]
        records = benchmark.finish(answers)
        if not records:
            result.skipped[benchmark.name] = f"the corpus asks nothing about split {benchmark.split!r}"
            continue
        metrics, missing = benchmark.summarise(records)
        result.records += records
        result.metrics |= metrics
        result.skipped |= missing
        result.protocol[benchmark.name] = _describe(benchmark, records)
        _merge_arrays(parts / benchmark.name, batches, out / f"drawings-{benchmark.name}.safetensors")
    save_records(out / "records.parquet", result.records)
    write_json(out / "metrics.json", result.metrics)
    write_json(out / "skipped.json", result.skipped)
    write_json(out / "protocol.json", result.protocol)
    _save_images(out / "images", [(benchmark, source) for benchmark, source, _ in runnable])
    if progress is not None:
        progress(total, total, dict(result.metrics))
    return result


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, keys as they come, in one step; NaN is refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def leave_ledger(context: StageContext, result: Result) -> None:
    """Write ``config.json`` and ``ledger.json``, of zeros: measuring trains nothing."""
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


def _start_or_go_on(parts: Path, suite: list[Benchmark], sources: Sequence[Examples], seed: int) -> None:
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


def _ask_once(folder: Path, benchmark: Benchmark, batch: Batch, sitting: Sitting) -> list[Record]:
    """The batch's records: from its part if there is one, else from the model."""
    part = folder / f"{batch.name}.parquet"
    if not part.exists():
        answers: Answers = benchmark.ask(batch, sitting)
        if answers.arrays:
            # Before the part, whose presence says that the batch is done.
            arrays = {name: np.ascontiguousarray(values) for name, values in answers.arrays.items()}
            replace_file(folder / f"{batch.name}.safetensors", lambda temporary: save_file(arrays, temporary))
        save_part(part, answers.records)
    return load_part(part)


def _merge_arrays(folder: Path, batches: list[Batch], path: Path) -> None:
    files = [file for batch in batches if (file := folder / f"{batch.name}.safetensors").exists()]
    if files:
        loaded = [load_file(file) for file in files]
        merged = {name: np.concatenate([part[name] for part in loaded]) for name in sorted(loaded[0])}
        replace_file(path, lambda temporary: save_file(merged, temporary))


def _describe(benchmark: Benchmark, records: list[Record]) -> dict[str, Any]:
    """How the numbers came about, with a hash over what was asked: equal hashes, equal examples."""
    digest = hashlib.sha256()
    examples: dict[str, set[str]] = {}
    for record in records:
        known = examples.setdefault(record.control, set())
        if record.control == "" and record.example_id not in known:
            asked = [record.example_id, record.cluster_id, record.prompt, *record.references]
            digest.update(json.dumps(asked, ensure_ascii=False).encode())
        known.add(record.example_id)
    return {
        **benchmark.settings(),
        "metric": records[0].metric,
        "further_metrics": list(dict.fromkeys(r.metric for r in records if r.metric != records[0].metric)),
        "examples": {control: len(known) for control, known in examples.items()},
        "examples_sha256": digest.hexdigest(),
    }


def _save_images(folder: Path, suite: list[tuple[Benchmark, Examples]]) -> None:
    """The first evaluated images of each benchmark; evaluation orders share a prefix, so that there are
    few."""
    for benchmark, corpus in suite:
        if not benchmark.pictured:
            continue
        chosen = benchmark.examples(corpus)[:_PICTURES]
        missing = np.array([index for index in chosen if not (folder / f"{benchmark.image_id(index)}.png").exists()])
        if missing.size:
            for index, image in zip(missing, corpus.images(benchmark.split, missing), strict=True):
                save_picture(folder / f"{benchmark.image_id(index)}.png", image)
