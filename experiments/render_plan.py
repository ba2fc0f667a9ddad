"""The plan as text for the console: at most 100 columns, nothing but characters."""

from __future__ import annotations

import math

from experiments.nesting import NO_LEVEL
from experiments.plan import Plan
from experiments.processes import cores
from experiments.render_design import budget_lines, design_lines
from experiments.render_text import LABEL as _LABEL
from experiments.render_text import WIDTH, duration
from experiments.render_text import count as _count
from experiments.render_text import cut as _cut
from experiments.render_text import listed as _listed
from experiments.render_text import table as _table
from experiments.render_text import widths as _widths
from experiments.render_text import wrapped as _wrapped

_MANY = 40  # arms that are listed


def render_plan(plan: Plan, workers: int | None = None) -> str:
    """Return the whole plan: arms, what is void and why, stages and their time, what it can detect.

    Args:
        plan: what `make_plan` or `single_arm_plan` returned.
        workers: cores to tell the time for; by default those of this machine.
    """
    arms = plan.design.arms
    lines = render_head(plan)
    if len(arms) > 1:
        lines += ["", *_arm_lines(plan)]
        lines += [line for arm in arms if arm.note for line in _wrapped("moved", arm.note)]
    for name, text in plan.tuned.items():
        lines += _wrapped("tuned", f"{name}: {text}")
    lines += _match_lines(plan)
    lines += ["", *render_price(plan, workers)]
    shared = [line.split()[1] for line in plan.conditional_on()]
    if shared:
        made = f"one {_listed(shared)} stage, made once for every arm and seed"
        lines += _wrapped("given", f"{made}: conclusions are conditional on {'it' if len(shared) == 1 else 'them'}")
    if plan.search is not None:
        lines += ["", *(line for label, text in plan.search.lines() for line in _wrapped(label, text))]
    elif len(arms) > 1:
        lines += ["", *design_lines(plan)]
    for limit in plan.limits:
        lines += _wrapped("limited", limit.describe(len(arms)))
    for remark in plan.remarks:
        lines += _wrapped("remark", remark)
    if plan.budget is not None:
        lines += ["", *budget_lines(plan.budget)]
    return "\n".join(lines)


def render_head(plan: Plan) -> list[str]:
    """What the study is: its name and size, its question, and what is left out of it and why."""
    study, arms = plan.study, plan.design.arms
    size = f"{_count(len(arms), 'arm')} x {_count(len(study.seeds), 'seed')} = {_count(len(plan.runs), 'run')}"
    design = f"{study.design} design, {_count(len(_varied(plan)), 'axis', 'axes')}, " if study.axes else ""
    lines = [f"{study.name}   {design}{size}"]
    lines += _wrapped("question", study.question) if study.axes or study.arms else []
    lines += _wrapped("expected", study.hypothesis) if study.hypothesis else []
    lines += _wrapped("headline", study.headline) if study.headline else []
    lines += _wrapped("until", _until(plan)) if study.until else []
    for axis in study.axes.values():
        if axis.only_if and len(axis.levels) > 1:
            lines += _wrapped("only if", f"{axis.name} has levels only where {axis.describe_condition()}")
    for removed in plan.design.removed:
        count = _count(len(removed.arms), "combination")
        lines += _wrapped(removed.void.label, f"{removed.void.describe()} ({count} left out): {removed.void.why}")
    return lines


def render_price(plan: Plan, workers: int | None = None) -> list[str]:
    """The stages, what is shared and done, and the time that is left."""
    return [*_stage_lines(plan), *_price_lines(plan), *_time_lines(plan, workers or cores())]


def _until(plan: Plan) -> str:
    text = f"{plan.study.until}: later stages are left out"
    if plan.records_stage is None:
        return text + ", so that there are no records and there is no report"
    return text + f", and {plan.records_stage} leaves the records of the report"


def _arm_lines(plan: Plan) -> list[str]:
    done = {job_id for job_id, job in plan.jobs.items() if job.done}
    finished: dict[str, int] = {}
    for run in plan.runs:
        finished[run.arm] = finished.get(run.arm, 0) + all(item in done for item in run.stage_keys.items())
    shown, axes = plan.design.arms[:_MANY], _varied(plan)
    rows = [["arm", *axes, "runs done"]]
    for arm in shown:
        count = f"{finished[arm.name]} of {len(plan.study.seeds)}"
        rows.append([_cut(arm.name, 44), *(arm.levels.get(axis, NO_LEVEL) for axis in axes), count])
    if sum(_widths(rows)) + 2 * len(rows[0]) > WIDTH:  # the names say it all
        rows = [
            ["arm", "runs done"],
            *([_cut(arm.name, 84), row[-1]] for arm, row in zip(shown, rows[1:], strict=True)),
        ]
    lines = _table(rows, left=len(rows[0]) - 1)
    if len(plan.design.arms) > len(shown):
        lines.append(f"  ... and {len(plan.design.arms) - len(shown)} more")
    return lines


def _varied(plan: Plan) -> list[str]:
    """Axes that have more than one level left."""
    return [axis.name for axis in plan.study.axes.values() if len(axis.levels) > 1]


def _stage_lines(plan: Plan) -> list[str]:
    summaries = plan.stage_summaries()
    rows = [["stage", "jobs", "instead of", "shared", "done", "time", "time left", "parameters"]]
    for s in summaries:
        rows.append([
            s.stage, str(s.jobs), str(s.instead_of), str(s.shared), str(s.done),
            duration(s.seconds), duration(s.seconds_left), _params(s.params),
        ])  # fmt: skip
    total = [sum(getattr(s, name) for s in summaries) for name in ("jobs", "instead_of", "shared", "done")]
    rows.append(["total", *map(str, total), duration(plan.seconds()), duration(plan.seconds(left=True)), ""])
    return _table(rows, left=1)


def _price_lines(plan: Plan) -> list[str]:
    """What a job of each stage costs, from the cheapest to the dearest, and what all of them come to."""
    priced = [(summary, summary.price) for summary in plan.stage_summaries() if summary.price is not None]
    if not priced:
        return []
    rows = [["price of a job", "trained", "positions", "FLOPs", "peak memory", "FLOPs of all", "left"]]
    for s, price in priced:
        spans = (span(price.trained), span(price.positions), span(price.flops), span(price.memory, "B"))
        rows.append([s.stage, *spans, span((price.flops_all,) * 2), span((price.flops_left,) * 2)])
    whole, left = (sum(getattr(price, name) for _, price in priced) for name in ("flops_all", "flops_left"))
    rows.append(["total", "", "", "", "", span((whole, whole)), span((left, left))])
    return ["", *_table(rows, left=1), ""]


def _match_lines(plan: Plan) -> list[str]:
    """The steps that bring each arm to the matched budget, and what whole steps leave over."""
    match = plan.study.match
    if match is not None and plan.branches:
        texts = [
            f"{_cut(b.of, 44)} at step {b.at}, for the {b.by.replace('_', ' ')} of {_cut(b.against, 40)}"
            for b in plan.branches
        ]
        shown = texts[:12] + ([f"... and {len(texts) - 12} more"] if len(texts) > 12 else [])
        told = f"{' and '.join(match.views).replace('_', ' ')}, by a second cool-down from a trunk of"
        return ["", *_wrapped("matched", told), *(f"{'':{_LABEL + 2}}{text}" for text in shown)]
    if match is None or not plan.matched:
        return []
    reference = plan.design.arms[0].name if match.to == "default" else match.to
    budget = next(m.total for m in plan.matched if m.arm == reference)
    texts = [
        f"{_cut(m.arm, 44)}: {', '.join(f'{key} {count}' for key, count in m.steps.items()) or 'as it was'} "
        f"({m.residual * 100:+.1f} %)"
        for m in plan.matched
        if m.arm != reference
    ]
    shown = texts[:12] + ([f"... and {len(texts) - 12} more"] if len(texts) > 12 else [])
    lines = ["", *_wrapped("matched", f"{match.by.replace('_', ' ')} to those of {reference}, {span((budget,) * 2)}")]
    return lines + [f"{'':{_LABEL + 2}}{text}" for text in shown]


def span(values: tuple[float, float], unit: str = "") -> str:
    """`1.89 T`, or `1.33-1.89 T` where the least and the most differ; one prefix for both."""
    low, high = values
    if high <= 0:
        return "0"
    power = max(0, min(7, math.floor(math.log10(high) / 3)))
    texts = [f"{value / 1000**power:#.3g}".rstrip(".") if power else f"{value:.0f}" for value in (low, high)]
    suffix = f"{' ' if power or unit else ''}{('', 'k', 'M', 'G', 'T', 'P', 'E', 'Z')[power]}{unit}"
    return (texts[0] if texts[0] == texts[1] else "-".join(texts)) + suffix


def _time_lines(plan: Plan, workers: int) -> list[str]:
    left, whole, apart = plan.seconds(left=True), plan.seconds(), plan.seconds_unshared()
    if not plan.missing:
        return _wrapped("time", "everything is done: nothing to run")
    if left is None or whole is None or apart is None:
        unknown = [s.stage for s in plan.stage_summaries() if s.seconds is None]
        return _wrapped("time", f"not known: no {_listed(unknown)} stage of this scale has finished yet")
    basis = "; ".join(f"{s.stage}: {s.basis}" for s in plan.stage_summaries() if s.basis)
    bases = {job.seconds_from.split(" ")[0] for job in plan.jobs.values()}
    if bases == {"rough"}:
        basis = "rough figures: no stage of this scale has finished here yet"
    elif bases == {"measured"}:
        basis = "from finished stages of this scale"
    text = f"about {duration(plan.wall_seconds(workers))} on {_count(workers, 'core')} ({basis})"
    if whole and apart / whole >= 1.05:
        work = f"{apart / whole:.1f} times the work ({duration(apart)} on one core)"
        text += f"; if every run trained its own stages, {work}"
    return _wrapped("time", text)


def _params(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "–"
    low, high = (_millions(count) for count in counts)
    return low if low == high else f"{low} to {high}"


def _millions(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"
