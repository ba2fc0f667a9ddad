"""Checks of the evaluation: one rule for all runs, and a reason for every score that is not there."""

from __future__ import annotations

from reports.check import Check
from reports.results import Results


def evaluation_check(results: Results) -> Check | None:
    """By which rule each benchmark was evaluated: one for all runs, or the report would not have been made."""
    known = results.frame.fingerprints
    if not known.benchmarks:
        return Check("Evaluation", "info", "the runs do not say by which rules they were evaluated")
    silent = [
        f"{arm}, seed {seed}: does not say how it was evaluated"
        for arm, seed in results.frame.files
        if (arm, seed) not in known.by_run
    ]
    moved = known.environments()
    text = "one rule a benchmark in every arm and seed" + (", not one environment" if moved else "")
    lines = tuple(known.line(benchmark) for benchmark in known.benchmarks)
    return Check("Evaluation", "warn" if silent or moved else "ok", text, (*lines, *silent, *moved))


def absence_check(results: Results) -> Check | None:
    """What was not measured, in which arms, and why."""
    where: dict[tuple[str, str], list[str]] = {}
    for arm in results.frame.arms:
        for name, why in results.frame.skipped.get(arm, {}).items():
            where.setdefault((name, why), []).append(arm)
    if not where:
        return None
    arms = len([arm for arm in results.frame.arms if results.frame.done(arm)])
    items = tuple(
        f"{name}, {'every arm' if len(own) == arms else '; '.join(own)}: {why}" for (name, why), own in where.items()
    )
    return Check("Absent scores", "info", f"{len(items)} without a value, each with its reason", items)
