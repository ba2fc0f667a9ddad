"""A study as tidy pandas frames, for a notebook: what the report is made from, and every number that it says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.errors import LavitError, did_you_mean
from reports import frame as reader
from reports.document import make_document
from reports.frame import Frame
from reports.results import Results, analyse


@dataclass(frozen=True)
class Frames:
    """A study's results, one frame a question.

    Attributes:
        records: one row per arm, seed, benchmark, metric, control and example, scores as stored.
        runs: one row per run: arm, seed, a column per axis (its level; empty where the arm has none to take), status,
            error, command, wall_s (of all its stages, seconds), commit and dirty (of the checkout that collected),
            tracking_uri, mlflow_experiment_id, mlflow_run_id, and ``key.STAGE`` for each stage.
        metrics: arm, seed, name, value: what each run's stages measured.
        metrics_wide: the same, a row per run and a column per metric.
        ledgers: arm, seed, stage, item, value: what each stage of a run cost.
        curves: arm, seed, stage, step, flops, name, value.
        contrasts: every entry of ``contrasts`` in report.json, a column per field.
        effects: those of them that are main effects.
        interactions: those of them that are interactions.
        examples: scores of the examples on which arms differ, most first: a row per benchmark, metric, split and
            example, a column per arm and seed.
    """

    records: pd.DataFrame
    runs: pd.DataFrame
    metrics: pd.DataFrame
    metrics_wide: pd.DataFrame
    ledgers: pd.DataFrame
    curves: pd.DataFrame
    contrasts: pd.DataFrame
    effects: pd.DataFrame
    interactions: pd.DataFrame
    examples: pd.DataFrame


def load(study: Path | str, runs: Path | str = "runs", one_rule: bool = True) -> Frame:
    """Read a study: a folder, or the name of one that was run or fetched under a runs folder.

    Args:
        study: a folder with ``study.yaml`` and ``records/*.parquet``, or a study's name.
        runs: where a name is looked up.
        one_rule: refuse runs that were not evaluated by one rule, as whatever compares arms must.

    Raises:
        LavitError: there is no such study, or `reports.frame.load` refuses it.
    """
    folder = Path(study)
    if not (folder / "study.yaml").is_file() and len(folder.parts) == 1:
        folder = Path(runs) / study
        if not (folder / "study.yaml").is_file():
            known = sorted(path.parent.name for path in Path(runs).glob("*/study.yaml"))
            raise LavitError(
                f"there is no study '{study}' in {Path(runs).absolute()}",
                did_you_mean(str(study), known) or f"`lavit report study={study}` makes or fetches its folder",
            )
    return reader.load(folder, one_rule)


def frames(study: Results | Frame | Path | str, runs: Path | str = "runs") -> Frames:
    """A study as tidy frames.

    Args:
        study: what `load` takes, or what it or `analyse` returned.
        runs: where a name is looked up.

    Raises:
        LavitError: as `load` does.
    """
    if isinstance(study, (str, Path)):
        study = load(study, runs)
    results = analyse(study) if isinstance(study, Frame) else study
    frame = results.frame
    contrasts = pd.DataFrame(make_document(results, [], [])["contrasts"])
    if contrasts.empty:
        contrasts = pd.DataFrame(columns=["kind", "benchmark", "metric"])
    return Frames(
        records=frame.records,
        runs=_runs(frame),
        metrics=frame.metrics,
        metrics_wide=_wide(frame),
        ledgers=frame.ledgers,
        curves=frame.curves,
        contrasts=contrasts,
        effects=_of_kind(contrasts, "main_effect"),
        interactions=_of_kind(contrasts, "interaction"),
        examples=_examples(results),
    )


def _runs(frame: Frame) -> pd.DataFrame:
    git = frame.header.get("git") or {}
    tracked = _tracked(frame.folder)
    rows = []
    for run in frame.runs.to_dict("records"):
        levels = {axis: frame.study.level(run["arm"], axis) for axis in frame.study.axes}
        row: dict[str, Any] = {"arm": run["arm"], "seed": run["seed"]}
        own = ("arm", "seed", "status", "error", "command", "wall_s", "commit", "dirty")
        row |= {f"axis.{axis}" if axis in own else axis: level for axis, level in levels.items()}
        row |= {name: run[name] for name in ("status", "error", "command")}
        row |= {"wall_s": sum(run["wall_s"].values()), "commit": git.get("commit"), "dirty": git.get("dirty")}
        row |= {"tracking_uri": tracked.get("tracking_uri"), "mlflow_experiment_id": tracked.get("experiment_id")}
        row |= {"mlflow_run_id": run["mlflow_run_id"]}
        rows.append(row | {f"key.{stage}": key for stage, key in run["stage_keys"].items()})
    return pd.DataFrame(rows)


def _tracked(folder: Path) -> dict[str, Any]:
    """Where MLflow keeps the study; empty where it was never tracked."""
    path = folder / "mlflow.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _wide(frame: Frame) -> pd.DataFrame:
    names = list(dict.fromkeys(frame.metrics["name"]))
    wide = frame.metrics.pivot_table(index=["arm", "seed"], columns="name", values="value", sort=False)
    return wide.reindex(columns=names)


def _of_kind(contrasts: pd.DataFrame, kind: str) -> pd.DataFrame:
    own = contrasts[contrasts["kind"] == kind]
    return own.dropna(axis="columns", how="all").reset_index(drop=True)


def _examples(results: Results) -> pd.DataFrame:
    frame = results.frame
    rows = frame.records[frame.records["control"] == ""]
    table = rows.pivot_table(
        index=["benchmark", "metric", "split", "example_id"], columns=["arm", "seed"], values="score", observed=True
    )
    order = [(arm, seed) for arm in frame.arms for seed in frame.seeds if (arm, seed) in table.columns]
    table = table[order]
    means = table.T.groupby(level="arm", sort=False).mean().T
    spread = means.max(axis=1) - means.min(axis=1)
    ranked = spread[spread > 0].sort_values(ascending=False, kind="stable").index
    return table.loc[ranked]
