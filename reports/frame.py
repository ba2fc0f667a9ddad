"""Load a study's folder into tidy frames, and refuse loudly what no statistic could repair.

The full contract is a folder that `lavit run` wrote (study.yaml, records/, runs.json, curves.parquet,
samples/, images/). The minimal one, for results made anywhere, is `study.yaml` and `records/*.parquet` with
the columns of `REQUIRED`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import LavitError, did_you_mean
from reports.commits import mixed_commits
from reports.fingerprints import Fingerprints, read_fingerprints
from reports.study import Study, read_study

REQUIRED = (
    "study",
    "arm",
    "seed",
    "benchmark",
    "split",
    "example_id",
    "cluster_id",
    "prediction",
    "reference",
    "score",
)
OPTIONAL: dict[str, Any] = {
    "metric": "score",
    "control": "",
    "kind": "",
    "prompt": "",
    "aux": "{}",
    "tokens": np.nan,
}
KEY = ("arm", "seed", "benchmark", "metric", "control", "split", "example_id")
TEXT = ("arm", "benchmark", "metric", "control", "split", "example_id", "cluster_id", "kind")


@dataclass
class Frame:
    """A study's results as tidy frames.

    Attributes:
        study: what was asked and declared.
        records: one row per arm, seed, benchmark, control and example; stored units (CIDEr raw, accuracies
        0-1). runs: one row per arm and seed: status, error, command, mlflow_run_id, git, wall_s, stage_keys.
        metrics: arm, seed, name, value: the flat metrics of each run (`caption/CIDEr`, `tokenizer/kept`,
        ...). ledgers: arm, seed, stage, item, value: what each stage of a run cost. curves: arm, seed, stage,
        step, flops, name, value. header: the rest of runs.json (git, environment, plan, created). folder:
        where it was read from. files: arm and seed -> the name of the file that its records came from. slugs:
        arm -> its name in file names. notes: what is unfinished or missing, in sentences. skipped: arm -> metric or
        benchmark -> why its runs have none. fingerprints: by which rule each run was evaluated.
    """

    study: Study
    records: pd.DataFrame
    runs: pd.DataFrame
    metrics: pd.DataFrame
    ledgers: pd.DataFrame
    curves: pd.DataFrame
    header: dict[str, Any]
    folder: Path
    files: dict[tuple[str, int], Path] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    @property
    def arms(self) -> list[str]:
        """Arms in the study's order, the default first, finished or not."""
        return list(self.study.arms)

    def why_skipped(self, arm: str, name: str) -> str:
        """Why an arm has no value of `benchmark/metric`; "" where its runs did not say."""
        reasons = self.skipped.get(arm, {})
        return reasons.get(name, "") or reasons.get(name.split("/")[0], "")

    @property
    def seeds(self) -> list[int]:
        """Every seed that was planned or found."""
        return sorted(set(self.study.seeds) | {int(s) for s in self.runs["seed"]})

    def done(self, arm: str) -> list[int]:
        """The seeds of an arm that have records."""
        rows = self.runs[(self.runs["arm"] == arm) & (self.runs["status"] == "done")]
        return sorted(int(s) for s in rows["seed"])


def load(folder: Path | str, one_rule: bool = True) -> Frame:
    """Read a study's folder.

    Args:
        folder: the study's.
        one_rule: refuse runs that were not evaluated by one rule, as whatever compares arms must.

    Raises:
        LavitError: a missing file or column, an unknown arm, duplicate keys, scores that are not finite, or arms that
            were not scored on the same examples or by the same rule; each names the file or the arm, and what to do.
    """
    folder = Path(folder)
    study = read_study(folder / "study.yaml")
    records, files = _read_records(folder, study)
    header = _read_json(folder / "runs.json")
    entries = header.pop("runs", [])
    runs, metrics, ledgers = _tabulate_runs(entries, study, records, folder / "runs.json")
    curves = _read_curves(folder / "curves.parquet")
    frame = Frame(study, records, runs, metrics, ledgers, curves, header, folder, files)
    frame.slugs = {arm: path.stem.rsplit(f"-s{seed}", 1)[0] for (arm, seed), path in files.items()}
    for entry in entries:
        frame.skipped.setdefault(str(entry.get("arm")), {}).update(entry.get("skipped") or {})
    frame.fingerprints = read_fingerprints(header, entries, study.default)
    if one_rule:
        frame.fingerprints.check(records)
    frame.notes = [*_describe_gaps(frame), *frame.fingerprints.environments(), *mixed_commits(runs)]
    return frame


def _read_records(folder: Path, study: Study) -> tuple[pd.DataFrame, dict[tuple[str, int], Path]]:
    paths = sorted((folder / "records").glob("*.parquet"))
    if not paths:
        raise LavitError(
            f"no records in {folder / 'records'}",
            "run the study first (lavit run study=...), or put one Parquet file per arm and seed there",
        )
    parts: list[pd.DataFrame] = []
    files: dict[tuple[str, int], Path] = {}
    for path in paths:
        part = _read_one(path)
        _check_arms(part, study, path)
        for arm, seed in part[["arm", "seed"]].drop_duplicates().itertuples(index=False):
            files[(str(arm), int(seed))] = path
        parts.append(part)
    records = pd.concat(parts, ignore_index=True)
    if records.empty:
        raise LavitError(f"the records in {folder / 'records'} hold no row", "evaluate at least the default arm")
    _check_rows(records)
    _check_examples(records, study.default)
    return records, files


def _read_one(path: Path) -> pd.DataFrame:
    try:
        part = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise LavitError(f"{path} is not a readable Parquet file: {error}", "evaluate this run again") from error
    missing = [column for column in REQUIRED if column not in part.columns]
    if missing:
        raise LavitError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            f"records need: {', '.join(REQUIRED)}",
        )
    for column, value in OPTIONAL.items():
        if column not in part.columns:
            part[column] = value
        elif column != "tokens":
            part[column] = part[column].fillna(value)
    for column in (*TEXT, "prompt"):
        part[column] = part[column].astype(str)
    try:
        part["seed"] = part["seed"].astype("int64")
        part["score"] = part["score"].astype("float64")
        part["tokens"] = part["tokens"].astype("float64")
    except (TypeError, ValueError) as error:
        raise LavitError(f"{path}: seed, score and tokens must be numbers: {error}") from error
    return part[["study", *KEY, "cluster_id", "kind", "prompt", "prediction", "reference", "score", "aux", "tokens"]]


def _check_arms(part: pd.DataFrame, study: Study, path: Path) -> None:
    for arm in part["arm"].unique():
        if arm not in study.arms:
            raise LavitError(f"{path} holds records of the arm '{arm}'", did_you_mean(arm, study.arms))
    for name in part["study"].astype(str).unique():
        if name != study.name:
            raise LavitError(
                f"{path} holds records of the study '{name}', the study file says '{study.name}'",
                "keep one study in one folder",
            )


def _check_rows(records: pd.DataFrame) -> None:
    bad = records[~np.isfinite(records["score"])]
    if len(bad):
        first = bad.iloc[0]
        raise LavitError(
            f"{len(bad)} score{'s are' if len(bad) > 1 else ' is'} not finite, first: arm '{first['arm']}', seed "
            f"{first['seed']}, {first['benchmark']}, example '{first['example_id']}'",
            "score a missing answer 0, or leave the example out of every arm",
        )
    twice = records.duplicated(list(KEY), keep="first")
    if twice.any():
        first = records[twice].iloc[0]
        raise LavitError(
            f"{int(twice.sum())} record(s) occur twice, first: arm '{first['arm']}', seed {first['seed']}, "
            f"{first['benchmark']}, control '{first['control']}', split '{first['split']}', example "
            f"'{first['example_id']}'",
            "an example is scored once per arm, seed, benchmark and control: delete the stale file",
        )


def _check_examples(records: pd.DataFrame, default: str) -> None:
    """Paired comparisons need the same examples in every run; name the first arm that differs."""
    groups = records.groupby(["benchmark", "metric", "control", "split"], sort=True)
    for (benchmark, _, control, split), rows in groups:
        codes, names = pd.factorize(rows["example_id"])
        keys = list(zip(rows["arm"], rows["seed"], strict=True))
        run_codes, run_keys = pd.factorize(pd.Series(keys, dtype=object))
        sets = {key: frozenset(codes[run_codes == i].tolist()) for i, key in enumerate(run_keys)}
        base_key = next((k for k in sets if k[0] == default), next(iter(sets)))
        base = sets[base_key]
        for key, own in sets.items():
            if own != base:
                odd = min(own ^ base)
                side = "lacks" if odd in base else "has, alone,"
                where = f"{benchmark}{f' ({control})' if control else ''}, split '{split}'"
                raise LavitError(
                    f"arms were not scored on the same examples of {where}: '{base_key[0]}' seed {base_key[1]} has "
                    f"{len(base)}, '{key[0]}' seed {key[1]} has {len(own)} and {side} '{names[odd]}'",
                    "evaluate these runs again with one suite; nothing is dropped silently",
                )
        per_example = rows.groupby("example_id", sort=False)["cluster_id"].nunique()
        if (per_example > 1).any():
            raise LavitError(
                f"example '{per_example.idxmax()}' of {benchmark} belongs to several clusters",
                "cluster_id (the image) must be the same in every arm and seed",
            )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LavitError(f"{path} is not readable JSON: {error}") from error
    return {"runs": loaded} if isinstance(loaded, list) else dict(loaded)


def _error_text(error: Any) -> str:
    """``pretrain [nan]: TrainingError: ...``: what stopped a run, and of which kind it was."""
    if not isinstance(error, dict):
        return str(error or "")
    kind = f" [{error['kind']}]" if error.get("kind") else ""
    return f"{error.get('stage')}{kind}: {error.get('class')}: {error.get('message')}"


def _tabulate_runs(
    entries: list[Mapping[str, Any]], study: Study, records: pd.DataFrame, path: Path
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    found = {(str(a), int(s)) for a, s in records[["arm", "seed"]].drop_duplicates().itertuples(index=False)}
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    metrics: list[tuple[str, int, str, float]] = []
    ledgers: list[tuple[str, int, str, str, float]] = []
    for entry in entries:
        arm, seed = str(entry.get("arm")), int(entry.get("seed", 0))
        if arm not in study.arms:
            raise LavitError(f"{path} names the arm '{arm}'", did_you_mean(arm, study.arms))
        status = str(entry.get("status") or "missing")
        if status == "done" and (arm, seed) not in found:
            status = "missing"
        if status != "done" and (arm, seed) in found:
            status = "done"
        rows[(arm, seed)] = {
            "status": status,
            "error": _error_text(entry.get("error")),
            "command": str(entry.get("command") or ""),
            "mlflow_run_id": str(entry.get("mlflow_run_id") or ""),
            "git": entry.get("git") or {},
            "wall_s": dict(entry.get("wall_s") or {}),
            "stage_keys": dict(entry.get("stage_keys") or {}),
        }
        metrics += [(arm, seed, str(n), float(v)) for n, v in (entry.get("metrics") or {}).items() if _is_number(v)]
        for stage, ledger in (entry.get("ledgers") or {}).items():
            items = (ledger or {}).items()
            ledgers += [(arm, seed, str(stage), str(i), float(v)) for i, v in items if _is_number(v)]
    blank = {"error": "", "command": "", "mlflow_run_id": "", "git": {}, "wall_s": {}, "stage_keys": {}}
    for key in found:
        rows.setdefault(key, {"status": "done", **blank})
    seeds = sorted(set(study.seeds) | {seed for _, seed in rows})
    for arm in study.arms:
        for seed in seeds:
            rows.setdefault((arm, seed), {"status": "missing", **blank})
    order = {arm: i for i, arm in enumerate(study.arms)}
    keys = sorted(rows, key=lambda k: (order[k[0]], k[1]))
    runs = pd.DataFrame([{"arm": arm, "seed": seed, **rows[(arm, seed)]} for arm, seed in keys])
    return (
        runs,
        pd.DataFrame(metrics, columns=["arm", "seed", "name", "value"]),
        pd.DataFrame(ledgers, columns=["arm", "seed", "stage", "item", "value"]),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _read_curves(path: Path) -> pd.DataFrame:
    columns = ["arm", "seed", "stage", "step", "flops", "name", "value"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    curves = pd.read_parquet(path)
    missing = [c for c in columns if c not in curves.columns]
    if missing:
        raise LavitError(f"{path} lacks the columns {', '.join(missing)}", f"curves need: {', '.join(columns)}")
    return curves[columns]


def _describe_gaps(frame: Frame) -> list[str]:
    runs, notes = frame.runs, []
    undone = runs[runs["status"] != "done"]
    if len(undone):
        failed = int((undone["status"] == "failed").sum())
        what = f"{len(runs) - len(undone)} of {len(runs)} runs are finished"
        notes.append(f"This study is unfinished: {what}" + (f", {failed} failed." if failed else "."))
    for arm in frame.arms:
        if not frame.done(arm):
            notes.append(f"The arm {arm} has no finished run, so it is not compared.")
    most = max((len(frame.done(arm)) for arm in frame.arms), default=0)
    if most == 1:
        notes.append(
            "One seed per arm: every interval covers examples only and speaks of these training runs, not of the "
            "method."
        )
    return notes
