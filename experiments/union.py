"""Several studies at once, `study=[a,b]`: each is what it is by itself, and what two of them share is run once.

A study keeps its own arms, voids, seeds, headline and folder. Only the work is one: the stages of all of them are one
graph, merged by key, in one launch. Overrides of the command line, `study.KEY=VALUE` among them, hold in every one.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.compose import parse_overrides
from experiments.errors import LavitError
from experiments.plan import Plan, StageJob


def study_names(overrides: Sequence[str]) -> list[str]:
    """The studies that a command line names: `study=a`, `study=[a,b]` or `study=a,b`; none where it names none."""
    names: list[str] = []
    for override in parse_overrides(overrides):
        if override.key_or_group != "study" or override.is_delete():
            continue
        value = override.value()
        listed = value if isinstance(value, list) else getattr(value, "list", [value])
        names = [str(name) for name in listed]
        if not names or (override.is_sweep_override() and not hasattr(value, "list")):
            raise LavitError(f"'{override.input_line}' names no studies", "write study=NAME or study=[NAME,NAME]")
    for name in names:
        if names.count(name) > 1:
            raise LavitError(f"study=[{','.join(names)}]: '{name}' is there twice", "name each study once")
    return names


def overrides_of(overrides: Sequence[str], name: str) -> list[str]:
    """The command line of one of several studies."""
    others = [text for text in overrides if parse_overrides([text])[0].key_or_group != "study"]
    return [f"study={name}", *others]


def make_plans(
    overrides: Sequence[str],
    runs_dir: Path | None = None,
    is_done: Callable[[str, str], bool] | None = None,
    config_dir: Path | None = None,
    count: bool = True,
) -> list[Plan]:
    """Plan every study that the overrides name, each as by itself; see `experiments.plan.make_plan`."""
    from experiments.planner import Planner

    planner = Planner(config_dir, runs_dir, is_done, count)
    names = study_names(overrides)
    if len(names) < 2:
        return [planner.plan_study([*overrides] if not names else overrides_of(overrides, names[0]))]
    plans = [planner.plan_study(overrides_of(overrides, name)) for name in names]
    folders: dict[str, str] = {}
    for name, plan in zip(names, plans, strict=True):
        if (other := folders.setdefault(plan.study.name, name)) != name:
            raise LavitError(
                f"the studies '{other}' and '{name}' would both lie in runs/{plan.study.name}",
                "run them one after another where study.name is set",
            )
    return plans


def merge(plans: Sequence[Plan]) -> Plan:
    """The plans as one graph of jobs, each key once; what one study alone plans is that plan itself."""
    if len(plans) == 1:
        return plans[0]
    stages = _in_order(plans)
    jobs: dict[tuple[str, str], StageJob] = {}
    for stage in stages:
        for plan in plans:
            for identity, job in plan.jobs.items():
                if job.stage == stage:
                    merged = jobs.setdefault(identity, replace(job, runs=[]))
                    merged.runs.extend((f"{plan.study.name}: {arm}", seed) for arm, seed in job.runs)
    return replace(
        plans[0],
        study=replace(plans[0].study, name="+".join(plan.study.name for plan in plans)),
        runs=[run for plan in plans for run in plan.runs],
        jobs=jobs,
        stages=stages,
        planned_only=next((plan.planned_only for plan in plans if plan.planned_only), ""),
        remarks=list(dict.fromkeys(remark for plan in plans for remark in plan.remarks)),
    )


def shared_jobs(plans: Sequence[Plan]) -> dict[str, int]:
    """Stage -> number of its jobs that more than one of the studies needs."""
    counts: dict[str, int] = {}
    for stage, key in merge(plans).jobs:
        if sum((stage, key) in plan.jobs for plan in plans) > 1:
            counts[stage] = counts.get(stage, 0) + 1
    return counts


def render_union(plans: Sequence[Plan]) -> str:
    """The plans in short, one after another, and what they cost together (100 columns)."""
    from experiments.render_plan import render_head, render_price
    from experiments.render_text import duration

    if len(plans) == 1:
        return plans[0].render()
    lines: list[str] = []
    for plan in plans:
        left = duration(plan.seconds(left=True)) if plan.missing else "nothing"
        lines += [*render_head(plan), f"  by itself  {len(plan.jobs)} jobs, {left} left on one core", ""]
    whole, shared = merge(plans), shared_jobs(plans)
    apart = sum(len(plan.jobs) for plan in plans)
    lines += [f"together   {len(plans)} studies, {len(whole.runs)} runs, {len(whole.jobs)} jobs", ""]
    lines += render_price(whole)
    text = ", ".join(f"{count} {stage}" for stage, count in shared.items()) or "nothing"
    saved = f"{apart - len(whole.jobs)} of {apart} jobs are saved: the studies share {text}"
    for label, words in [("shared", saved), *(("remark", remark) for remark in whole.remarks)]:
        lines += textwrap.wrap(words, 100, initial_indent=f"  {label:<11}", subsequent_indent=" " * 13)
    return "\n".join(lines)


def union_document(plans: Sequence[Plan]) -> dict[str, Any]:
    """The plans as plain data: of one study its own, of several each and what they cost together."""
    if len(plans) == 1:
        return plans[0].to_dict()
    whole = merge(plans)
    return {
        "studies": [plan.to_dict() for plan in plans],
        "together": {
            "runs": len(whole.runs),
            "jobs": len(whole.jobs),
            "shared": shared_jobs(plans),
            "seconds": whole.seconds(),
            "seconds_left": whole.seconds(left=True),
        },
    }


def union_json(plans: Sequence[Plan]) -> str:
    """`union_document` as JSON text."""
    return json.dumps(union_document(plans), indent=2, ensure_ascii=False)


def _in_order(plans: Sequence[Plan]) -> list[str]:
    """The stages of all plans, each after all that any of its jobs needs."""
    needs: dict[str, list[str]] = {}
    for plan in plans:
        for job in plan.jobs.values():
            needs.setdefault(job.stage, []).extend(job.needs)
    order: dict[str, None] = {}

    def visit(stage: str) -> None:
        if stage not in order:
            for need in needs[stage]:
                visit(need)
            order[stage] = None

    for stage in needs:
        visit(stage)
    return list(order)
