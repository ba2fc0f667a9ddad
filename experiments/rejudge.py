"""Judging a study's drawings again with another pixel decoder: the decoder through the store, the arms not at all.

Writes ``<runs>/<study>/rejudged/<decoder>/``: ``records/`` (one file a run), each run's pictures and ``study.yaml``,
which together are what a report needs. The store gains the decoder's stage and loses nothing. A run whose drawings
this decoder has judged before is not judged again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.collect import record_name, slug, study_folder
from experiments.driver import failure_text, run_jobs
from experiments.errors import LavitError
from experiments.plan import Plan, Run, single_arm_plan
from experiments.slugs import slugify
from experiments.stages import EVALUATE
from experiments.store import Store, read_json, write_atomic

PIXELS = "pixels"


def split_decoder(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of the study, and those of the pixel decoder that is to judge.

    Raises:
        LavitError: no ``pixels=LEVEL`` among them.
    """
    own = [o for o in overrides if o.lstrip("+~").partition("=")[0].partition(".")[0] == PIXELS]
    if not any(o.startswith(f"{PIXELS}=") for o in own):
        raise LavitError("judge with which pixel decoder? Write pixels=LEVEL", "the levels are in conf/pixels/")
    return [o for o in overrides if o not in own], own


def decoder_name(overrides: Sequence[str]) -> str:
    """``unet``, or ``unet+steps=400`` where single settings were changed as well: a folder's name."""
    level = next(o.partition("=")[2] for o in overrides if o.startswith(f"{PIXELS}="))
    others = [o.removeprefix(f"{PIXELS}.") for o in overrides if not o.startswith(f"{PIXELS}=")]
    return slugify("+".join([level, *others]))


def rejudge_study(plan: Plan, decoder: Sequence[str], config_dir: Path | None = None) -> Path:
    """Judge the drawings of every finished run of a plan with a pixel decoder, and return the folder.

    Args:
        plan: the study, as it was run.
        decoder: overrides of the decoder, ``pixels=LEVEL`` among them.
        config_dir: another config folder than the one that ships with the packages.

    Raises:
        LavitError: no finished run has drawings, or the decoder could not be trained.
    """
    store = Store(plan.runs_dir)
    runs = [run for run in plan.runs if _drawings(store, run)]
    if not runs:
        raise LavitError(
            f"no finished run of {plan.study.name} has drawings in {store.root}",
            f"run it first: lavit run study={plan.study.name}; an arm without a visual loss draws nothing",
        )
    out = study_folder(plan) / "rejudged" / decoder_name(decoder)
    (out / "records").mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(runs):
        key = _decoder_key(plan, run, decoder, config_dir)
        print(f"judge   {run.name}  [{number + 1}/{len(runs)}]", flush=True)
        _judge(plan, store, run, key, out)
    wanted = {record_name(plan, run) for run in runs}
    for path in (out / "records").glob("*.parquet"):
        if path.name not in wanted:
            path.unlink()
    headline = _headline(out / "records" / record_name(plan, runs[0]))
    document = plan.study_document() | {"headline": headline, "family": None}
    document.pop("margin", None)  # in units of the study's own headline
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    write_atomic(out / "study.yaml", f"# The study whose drawings were judged again with {' '.join(decoder)}.\n{text}")
    return out


def _drawings(store: Store, run: Run) -> list[Path]:
    """What a run has drawn; empty where it is not evaluated yet or draws nothing."""
    key = run.stage_keys.get(EVALUATE)
    if key is None or not store.is_done(EVALUATE, key):
        return []
    return sorted(store.folder(EVALUATE, key).glob("drawings-*.safetensors"))


def _decoder_key(plan: Plan, run: Run, decoder: Sequence[str], config_dir: Path | None) -> str:
    """The key of the finished pixel stage that fits a run's encoder; it is trained where the store has none."""
    overrides = [o for o in run.overrides if not o.startswith("study.until=")]
    asked = [*overrides, *decoder, f"study.until={PIXELS}"]
    wanted = single_arm_plan(asked, plan.runs_dir, config_dir=config_dir)
    if wanted.missing and not (launch := run_jobs(wanted)).ok:
        raise LavitError(f"the pixel decoder could not be trained.\n{failure_text(launch)}")
    return wanted.runs[0].stage_keys[PIXELS]


def _judge(plan: Plan, store: Store, run: Run, pixels: str, out: Path) -> None:
    """Judge one run, unless this decoder has judged these very drawings."""
    keys = {EVALUATE: run.stage_keys[EVALUATE], PIXELS: pixels}
    folder = out / f"{slug(plan, run.arm)}-s{run.seed}"
    path = out / "records" / record_name(plan, run)
    if path.is_file() and read_json(folder / "judged.json") == keys:
        return
    from omegaconf import OmegaConf

    from evals.records import save_records
    from evals.rejudge import rejudge

    folder.mkdir(parents=True, exist_ok=True)
    job = plan.jobs[EVALUATE, keys[EVALUATE]]
    needs = {**job.needs, PIXELS: pixels}
    records = rejudge(
        OmegaConf.create(job.config),
        {stage: store.folder(stage, key) for stage, key in needs.items()},
        store.folder(EVALUATE, keys[EVALUATE]),
        run.seed,
        folder,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_records(temporary, records)
    _add_columns(temporary, {"study": plan.study.name, "arm": run.arm, "seed": run.seed})
    os.replace(temporary, path)
    write_atomic(folder / "judged.json", json.dumps(keys, indent=1))


def _add_columns(path: Path, values: dict[str, Any]) -> None:
    """Whose records these are, in front of the other columns."""
    import pyarrow as arrow
    from pyarrow import parquet

    table = parquet.read_table(path)
    for name, value in reversed(values.items()):
        table = table.add_column(0, name, arrow.array([value] * table.num_rows))
    parquet.write_table(table, path, compression="zstd")


def _headline(path: Path) -> str:
    """``benchmark/metric`` of the first record."""
    from pyarrow import parquet

    first = parquet.read_table(path, columns=["benchmark", "metric"]).slice(0, 1).to_pylist()[0]
    return f"{first['benchmark']}/{first['metric']}"
