"""The plan as text for the console: at most 100 columns, nothing but characters."""

from __future__ import annotations

import itertools
import math
import os
import textwrap
from collections.abc import Sequence

from experiments.design import crossed, matched_pairs
from experiments.nesting import NO_LEVEL
from experiments.plan import Plan
from experiments.power import Detectable

WIDTH = 100
_MANY = 40  # arms that are listed
_LABEL = 11  # width of the words at the left


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
    lines += _match_lines(plan)
    lines += ["", *render_price(plan, workers)]
    shared = [line.split()[1] for line in plan.conditional_on()]
    if shared:
        made = f"one {_listed(shared)} stage, made once for every arm and seed"
        lines += _wrapped("given", f"{made}: conclusions are conditional on {'it' if len(shared) == 1 else 'them'}")
    if len(arms) > 1:
        lines += ["", *_estimable_lines(plan), *_power_lines(plan), *_alternative_lines(plan)]
    for remark in plan.remarks:
        lines += _wrapped("remark", remark)
    return "\n".join(lines)


def render_head(plan: Plan) -> list[str]:
    """What the study is: its name and size, its question, and what is left out of it and why."""
    study, arms = plan.study, plan.design.arms
    size = f"{_count(len(arms), 'arm')} x {_count(len(study.seeds), 'seed')} = {_count(len(plan.runs), 'run')}"
    design = f"{study.design} design, {_count(len(_varied(plan)), 'axis', 'axes')}, " if study.axes else ""
    lines = [f"{study.name}   {design}{size}"]
    lines += _wrapped("question", study.question) if study.axes or study.arms else []
    lines += _wrapped("headline", study.headline) if study.headline else []
    lines += _wrapped("until", _until(plan)) if study.until else []
    for axis in study.axes.values():
        if axis.only_if and len(axis.levels) > 1:
            lines += _wrapped("only if", f"{axis.name} has levels only where {axis.describe_condition()}")
    for removed in plan.design.removed:
        count = _count(len(removed.arms), "combination")
        lines += _wrapped("void", f"{removed.void.describe()} ({count} left out): {removed.void.why}")
    return lines


def render_price(plan: Plan, workers: int | None = None) -> list[str]:
    """The stages, what is shared and done, and the time that is left."""
    return [*_stage_lines(plan), *_price_lines(plan), *_time_lines(plan, workers or _cores())]


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min 20 s`, `2 h 05 min`, `4 d 8 h`; a dash where it is not known."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole < 600 else "")
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


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


def _estimable_lines(plan: Plan) -> list[str]:
    study, arms = plan.study, plan.design.arms
    varied = [axis for axis in study.axes.values() if len(axis.levels) > 1]
    if not varied or (study.design == "arms" and any(named.also for named in study.arms.values())):
        return []
    contrasts = [(axis, level) for axis in varied for level in axis.levels if level != study.default[axis.name]]
    found = [c for c in contrasts if matched_pairs(arms, c[0].name, study.default[c[0].name], c[1])]
    text = f"{len(found)} of {len(contrasts)} main effects"
    lost = [f"{axis.name}={level}" for axis, level in contrasts if (axis, level) not in found]
    text += f" (not {', '.join(lost)}: no two arms differ in it alone)" if lost else ""
    pairs = list(itertools.combinations([axis.name for axis in varied], 2))
    if pairs:
        missing = [f"{a} x {b}" for a, b in pairs if not crossed(arms, a, b)]
        text += f", {len(pairs) - len(missing)} of {len(pairs)} two-way interactions"
        if study.design == "one_at_a_time" and len(missing) == len(pairs):
            text += " (one at a time crosses no two axes)"
        elif missing:
            reason = "void" if plan.design.removed else "not crossed"
            text += f" (not {', '.join(missing)}: {reason})"
    return _wrapped("estimable", text)


def _power_lines(plan: Plan) -> list[str]:
    if not plan.effects or plan.records_stage is None:
        return []
    if plan.effects[0].holm is None:
        return _wrapped("detects", "nothing over seeds: with one seed there is no interval over training runs")
    unit = (
        "between-seed SDs" if plan.study.sd_seed is None else f"{plan.study.headline} (pilot SD {plan.study.sd_seed:g})"
    )
    lines = _wrapped(
        "detects", f"smallest effects found with 80 % power, in {unit}: Holm's strictest level (uncorrected)"
    )
    shown = [e for e in plan.effects if e.kind == "arm" or e.pairs > 1]
    lines += [
        f"{'':{_LABEL + 2}}{_cut(effect.what, 46):<46}  {_effect(effect, plan):<16}  df {effect.df}"
        + (f", {effect.pairs} pairs" if effect.pairs > 1 else "")
        for effect in shown[:12]
    ]
    if len(shown) > 12:
        lines.append(f"{'':{_LABEL + 2}}... and {len(shown) - 12} more")
    return lines


def _alternative_lines(plan: Plan) -> list[str]:
    other = plan.alternative
    if other is None:
        return []
    size = f"{_count(other.arms, 'arm')}, {_count(other.runs, 'run')}, {_count(other.jobs, 'job')}"
    text = f"design: {other.design} has {size}"
    text += f", {duration(other.seconds_left)} left on one core" if other.seconds_left is not None else ""
    arm = [e for e in other.effects if e.kind == "arm" and e.holm is not None]
    main = [e for e in other.effects if e.kind == "main" and e.pairs > 1 and e.holm is not None]
    if plan.records_stage is None:
        arm, main = [], []
    if arm:
        text += f"; it detects one arm vs default at {_effect(arm[0], plan)}"
    if main:
        low, high = min(main, key=_holm), max(main, key=_holm)
        text += f", main effects at {_effect(low, plan)}" + (
            f" to {_effect(high, plan)}" if _holm(high) > _holm(low) else ""
        )
    if arm and not main and other.design == "one_at_a_time":
        text += ", and no interaction"
    return _wrapped("instead", text)


def _holm(effect: Detectable) -> float:
    return effect.holm or 0.0


def _effect(effect: Detectable, plan: Plan) -> str:
    units = effect.in_units(plan.study.sd_seed)
    if units is not None:
        return f"{units[0]:.3g} ({units[1]:.3g})"
    return f"{effect.holm:.2f} ({effect.uncorrected:.2f})"


def _params(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "–"
    low, high = (_millions(count) for count in counts)
    return low if low == high else f"{low} to {high}"


def _millions(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def _table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns two spaces apart: the first `left` of them flush left, the others flush right."""
    widths = _widths(rows)
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]


def _wrapped(label: str, text: str) -> list[str]:
    indent = " " * (_LABEL + 2)
    wrapped = textwrap.wrap(text, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [f"  {label:<{_LABEL}}{line}" if i == 0 else indent + line for i, line in enumerate(wrapped)]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
