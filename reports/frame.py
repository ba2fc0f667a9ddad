"""Load a study's folder into tidy frames, and refuse loudly what no statistic could repair.

The full contract is a folder that `lavit run` wrote (study.yaml, records/, runs.json, curves.parquet,
samples/, images/). The minimal one, for results made anywhere, is `study.yaml` and `records/*.parquet` with
the columns of `reports.records.REQUIRED`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import LavitError, did_you_mean
from experiments.slug import slugify
from reports.commits import mixed_commits
from reports.fingerprints import Fingerprints, read_fingerprints
from reports.records import read_records
from reports.study import Study, branch_names, read_study


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
    whole: Frame | None = field(default=None, repr=False, compare=False)  # with arms that stand in no table: branches
    made_curves: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)  # see reports.budget

    @property
    def arms(self) -> list[str]:
        """Arms in the study's order, the default first, finished or not."""
        return list(self.study.arms)

    def why_skipped(self, arm: str, name: str) -> str:
        """Why an arm has no value of `benchmark/metric`; "" where its runs did not say."""
        reasons = self.skipped.get(arm, {})
        return reasons.get(name, "") or reasons.get(name.split("/")[0], "")

    def without(self, arms: Collection[str]) -> Frame:
        """The same results but for some arms; ``whole`` still has them."""
        study = self.study
        kept = replace(
            study,
            arms={arm: levels for arm, levels in study.arms.items() if arm not in arms},
            family=tuple(arm for arm in study.family if arm not in arms),
            also=tuple(arm for arm in study.also if arm not in arms),
        )
        tables = {
            name: table[~table["arm"].isin(list(arms))].reset_index(drop=True)
            for name in ("records", "runs", "metrics", "ledgers", "curves")
            if "arm" in (table := getattr(self, name)).columns
        }
        tables["records"]["arm"] = tables["records"]["arm"].cat.remove_unused_categories()
        files = {run: path for run, path in self.files.items() if run[0] not in arms}
        return replace(self, study=kept, files=files, whole=self, made_curves={}, **tables)

    @property
    def seeds(self) -> list[int]:
        """Every seed that was planned or found."""
        return list(self._seeds)

    @cached_property
    def _seeds(self) -> list[int]:
        return sorted(set(self.study.seeds) | {int(s) for s in self.runs["seed"]})

    def done(self, arm: str) -> list[int]:
        """The seeds of an arm that have records."""
        return list(self._done.get(arm, ()))

    @cached_property
    def _done(self) -> dict[str, list[int]]:
        rows = self.runs[self.runs["status"] == "done"]
        return {str(arm): sorted(int(s) for s in seeds) for arm, seeds in rows.groupby("arm")["seed"]}


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
    records, files = read_records(folder, study)
    header = _read_json(folder / "runs.json")
    entries = header.pop("runs", [])
    runs, metrics, ledgers = _tabulate_runs(entries, study, set(files), folder / "runs.json")
    curves, strange = _read_curves(folder / "curves.parquet", {(r.arm, int(r.seed)) for r in runs.itertuples()})
    frame = Frame(study, records, runs, metrics, ledgers, curves, header, folder, files)
    frame.slugs = {arm: _slug(arm, seed, path) for (arm, seed), path in files.items()}
    for entry in entries:
        frame.skipped.setdefault(str(entry.get("arm")), {}).update(entry.get("skipped") or {})
    frame.fingerprints = read_fingerprints(header, entries, study.default)
    if one_rule:
        frame.fingerprints.check(records)
    frame.notes = [*_describe_gaps(frame), *strange, *frame.fingerprints.environments(), *mixed_commits(runs)]
    return frame.without(branches) if (branches := branch_names(study)) else frame


def _slug(arm: str, seed: int, path: Path) -> str:
    """An arm's name in file names: that of the file of one run (`SLUG-s0.parquet`), else its own as a file's name."""
    stem, _, rest = path.stem.rpartition(f"-s{seed}")
    return stem if stem and not rest else slugify(arm)


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
    entries: list[Mapping[str, Any]], study: Study, found: set[tuple[str, int]], path: Path
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
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


def _read_curves(path: Path, known: set[tuple[str, int]]) -> tuple[pd.DataFrame, list[str]]:
    """(the curves of the study's runs, in a sentence what others there are)."""
    columns = ["arm", "seed", "stage", "step", "flops", "name", "value"]
    if not path.is_file():
        return pd.DataFrame(columns=columns), []
    curves = pd.read_parquet(path)
    missing = [c for c in columns if c not in curves.columns]
    if missing:
        raise LavitError(f"{path} lacks the columns {', '.join(missing)}", f"curves need: {', '.join(columns)}")
    curves = curves[columns].astype({"arm": str})
    own = np.fromiter((run in known for run in zip(curves["arm"], curves["seed"], strict=True)), bool, len(curves))
    if own.all():
        return curves, []
    others = len(curves[~own].drop_duplicates(["arm", "seed"]))
    return curves[own], [f"{path.name} holds curves of {others} run(s) that this study has not; they are left out."]


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
