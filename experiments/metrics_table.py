"""The numbers of single arms on the console: one row a metric, one column a run, straight from the store."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.plan import Plan, Run
from experiments.store import Store


def run_metrics(store: Store, run: Run) -> dict[str, float]:
    """What a run's stages measured: the evaluation's numbers by their own names, others as ``stage/name``.

    A stage that is not finished adds nothing.
    """
    metrics: dict[str, float] = {}
    for stage, key in run.stage_keys.items():
        if not store.is_done(stage, key):
            continue
        found = store.read(stage, key, "metrics.json") or {}
        prefix = "" if stage == "evaluate" else f"{stage}/"
        metrics |= {f"{prefix}{name}": float(value) for name, value in found.items() if _is_number(value)}
    return metrics


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def metrics_table(plans: Mapping[str, Plan]) -> str:
    """A table of the first run of each plan; accuracies and CIDEr as stored (0-1, raw)."""
    columns = {title: run_metrics(Store(plan.runs_dir), plan.runs[0]) for title, plan in plans.items()}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    evaluated = [name for name in names if "@" not in name and name.split("/")[0] not in _stages(plans)]
    shown = evaluated or names
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


def _stages(plans: Mapping[str, Plan]) -> set[str]:
    return {stage for plan in plans.values() for stage in plan.stages if stage != "evaluate"}
