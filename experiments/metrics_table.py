"""The numbers of single arms on the console: one row a metric, one column a run, straight from the store."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.plan import Plan, Run
from experiments.store import Store


def run_metrics(store: Store, run: Run) -> dict[str, float]:
    """What a run's stages measured: the numbers of the records' stage by their own names, others as ``stage/name``.

    A stage that is not finished adds nothing.
    """
    metrics: dict[str, float] = {}
    for stage, key in run.stage_keys.items():
        if not store.is_done(stage, key):
            continue
        prefix = "" if stage == run.records_stage else f"{stage}/"
        metrics |= {f"{prefix}{name}": value for name, value in _stage_metrics(store, stage, key).items()}
    return metrics


def scores(store: Store, run: Run) -> dict[str, float]:
    """What the stage that leaves a run's records measured; empty until it is finished."""
    key = run.stage_keys.get(run.records_stage or "")
    if key is None or not store.is_done(str(run.records_stage), key):
        return {}
    return _stage_metrics(store, str(run.records_stage), key)


def _stage_metrics(store: Store, stage: str, key: str) -> dict[str, float]:
    found = store.read(stage, key, "metrics.json") or {}
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def metrics_table(plans: Mapping[str, Plan]) -> str:
    """A table of the first run of each plan; accuracies and CIDEr as stored (0-1, raw)."""
    columns = {title: run_metrics(Store(plan.runs_dir), plan.runs[0]) for title, plan in plans.items()}
    scored = {name for plan in plans.values() for name in scores(Store(plan.runs_dir), plan.runs[0])}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    shown = [name for name in names if name in scored and "@" not in name] or names
    if not shown:
        return "no metrics yet"
    width = max(map(len, shown))
    widths = {title: max(9, len(title)) for title in columns}
    lines = [" " * width + "  " + "  ".join(f"{title:>{widths[title]}}" for title in columns)]
    for name in shown:
        cells = (f"{column[name]:.4f}" if name in column else "-" for column in columns.values())
        row = "  ".join(f"{cell:>{widths[title]}}" for cell, title in zip(cells, columns, strict=True))
        lines.append(f"{name:<{width}}  {row}")
    return "\n".join(lines)
