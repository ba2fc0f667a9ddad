"""Runs a suite: every benchmark, every control, batch after batch; goes on where an earlier attempt stopped.

Each batch leaves a part under ``resume/`` as soon as it is done, written in one step, so that after any
interruption no example is asked twice and none is missing. The merged files do not show where an attempt
broke off.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from evals.benchmark import Benchmark
from evals.errors import EvaluationError
from evals.files import open_sources
from evals.fingerprint import describe
from evals.pictures import save_picture
from evals.recompute import recompute
from evals.records import Record, check_controls, replace_file, save_records
from evals.resume import ask_once, merge_arrays, part_of, start_or_go_on
from evals.sitting import Sitting
from lavit.build import build, plain
from lavit.data.protocol import Corpus, Examples

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel
    from lavit.stages.context import StageContext

__all__ = ["Progress", "Result", "build_suite", "evaluate", "leave_ledger", "recompute", "write_json"]

log = logging.getLogger(__name__)

_SPEED_EVERY_S = 30.0  # seconds between two lines that tell the speed
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
        benchmark.entry = plain(entry)
        benchmark.skip_missing(node.get("missing"))
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
    sources = open_sources(suite, corpus, root, side)  # all, before the first work starts
    sittings = {id(source): Sitting(model, source, seed, out) for source in sources}
    parts = out / "resume"
    start_or_go_on(parts, suite, sources, seed)
    runnable = []
    for benchmark, source in zip(suite, sources, strict=True):
        obstacle = benchmark.obstacle(model, source)
        if obstacle is None:
            runnable.append((benchmark, source, list(benchmark.batches(source))))
        else:
            result.skipped[benchmark.name] = obstacle
    total, done = sum(len(batches) for *_, batches in runnable), 0
    speed = _Speed(total)
    for benchmark, source, batches in runnable:
        sitting = sittings[id(source)]
        answers: list[Record] = []
        for batch in batches:
            fresh = not part_of(parts / benchmark.name, batch).exists()
            said = ask_once(parts / benchmark.name, benchmark, batch, sitting)
            answers += said
            done += 1
            speed.tell(benchmark.name, done, len(said) if fresh else 0)
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
        check_controls(records)
        result.protocol[benchmark.name] = describe(benchmark, records, source)
        for control in benchmark.passes():
            own = [batch for batch in batches if batch.control == control]
            merge_arrays(parts / benchmark.name, own, out / benchmark.kept_in(control))
        of_set, why_not = benchmark.measure_set(out)
        result.metrics |= of_set
        result.skipped |= why_not
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


class _Speed:
    """Tells the log how fast a long evaluation goes: examples that this attempt asked about, a second."""

    def __init__(self, total: int):
        self.total, self.asked = total, 0
        self.started = self.told = time.monotonic()

    def tell(self, benchmark: str, done: int, asked: int) -> None:
        """Count ``asked`` examples, and say so from time to time."""
        self.asked += asked
        now = time.monotonic()
        if asked and now - self.told >= _SPEED_EVERY_S:
            self.told = now
            rate = self.asked / (now - self.started)
            log.info("%s: batch %d of %d, %.3g examples/s", benchmark, done, self.total, rate)


def _save_images(folder: Path, suite: list[tuple[Benchmark, Examples]]) -> None:
    """The first evaluated images of each benchmark; evaluation orders share a prefix, so that there are
    few."""
    for benchmark, corpus in suite:
        if not benchmark.pictured:
            continue
        chosen = benchmark.examples(corpus)[:_PICTURES]
        files = {index: folder / f"{benchmark.picture_name(index)}.png" for index in chosen}
        missing = np.array([index for index, file in files.items() if not file.exists()])
        if missing.size:
            for index, image in zip(missing, corpus.images(benchmark.split, missing), strict=True):
                save_picture(files[index], image)
