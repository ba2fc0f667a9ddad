"""What a sceptical reader checks: completeness, voids, equal conditions, spreads, provenance."""

from __future__ import annotations

from typing import Any

from reports.budget import average, cost, own_stages
from reports.check import Check
from reports.evaluation_audit import absence_check, evaluation_check
from reports.findings import warnings
from reports.listing import duration
from reports.origin_audit import code_check, data_check, environment_check, records_check
from reports.price_audit import matched_check, price_check
from reports.questions_audit import questions_check
from reports.results import Results
from reports.sensitivity_audit import sensitivity_check


def audit(results: Results) -> list[Check]:
    """Every check, in the order in which they are read."""
    checks = [
        _completeness(results),
        _frozen(results),
        _design(results),
        _examples(results),
        questions_check(results),
        evaluation_check(results),
        absence_check(results),
        _voids(results),
        _conditions(results),
        _axes_only(results),
        _spreads(results),
        _statistics(results),
        sensitivity_check(results),
        _conditional(results),
        _seeds(results),
        _time(results),
        price_check(results),
        matched_check(results),
        code_check(results),
        data_check(results),
        records_check(results),
        environment_check(results),
    ]
    return [check for check in checks if check is not None]


def _completeness(results: Results) -> Check:
    runs = results.frame.runs
    undone = runs[runs["status"] != "done"]
    text = f"{len(runs) - len(undone)} of {len(runs)} runs finished"
    items = []
    for run in undone.itertuples(index=False):
        why = f": {run.error}" if run.error else ""
        again = f"; repeat with `{run.command}`" if run.command else ""
        items.append(f"{run.arm}, seed {run.seed}: {run.status}{why}{again}")
    return Check("Completeness", "warn" if items else "ok", text, tuple(items))


def _frozen(results: Results) -> Check | None:
    """Whether the study is what was written down before the first run."""
    if "frozen" not in results.frame.header:
        return None
    frozen = results.frame.header["frozen"]
    if not frozen:
        return Check("Frozen plan", "info", "the plan was not written down before the first run")
    found = tuple(str(line) for line in frozen.get("deviations") or [])
    notes = []
    if done := frozen.get("done_before") or []:
        notes.append(f"{len(done)} runs were done when it was frozen: {', '.join(done)}")
    for step in frozen.get("history") or []:
        notes.append(f"frozen before on {step.get('date')}, and again because: {step.get('reason')}")
        notes += [f"then changed: {line}" for line in step.get("deviations") or []]
    count = f"{len(found)} deviation{'s' if len(found) > 1 else ''}" if found else "no deviation"
    return Check(
        "Frozen plan", "warn" if found or done else "ok", f"frozen on {frozen['date']}, {count}", (*found, *notes)
    )


def _design(results: Results) -> Check | None:
    """How the arms of a fraction were chosen, and what they cannot tell apart."""
    extra = results.frame.study.extra
    if not extra.get("model"):
        return None
    plan = results.frame.header.get("plan") or {}
    chains = tuple((plan.get("estimable") or {}).get("chains") or ())
    text = str(extra.get("method") or "a fraction") + "; interactions outside its model are taken to be nil"
    return Check("Design", "info", text, tuple(f"aliased: {chain}" for chain in chains))


def _examples(results: Results) -> Check:
    counts: dict[str, dict[str, str]] = {}  # benchmark -> metric -> how many examples
    for measure in results.scores.primary:
        cube = results.scores.cube(measure)
        if cube is not None:
            clusters = "" if cube.clusters == cube.examples else f" in {cube.clusters:,} images"
            counts.setdefault(measure.benchmark, {})[measure.name] = f"{cube.examples:,}{clusters}"
    parts = []
    for benchmark, own in counts.items():
        if len(set(own.values())) == 1:
            parts.append(f"{benchmark} {next(iter(own.values()))}")
        else:
            parts += [f"{benchmark}/{metric} {count}" for metric, count in own.items()]
    text = "every arm and seed was scored on the same examples: " + "; ".join(parts)
    return Check("Examples", "ok", text + "; no duplicate, no missing score")


def _voids(results: Results) -> Check | None:
    study = results.frame.study
    if not study.voids:
        return Check("Void combinations", "info", "none declared")
    listed = study.removed or study.rules
    items = list(
        dict.fromkeys(", ".join(f"{a}={v}" for a, v in void.levels.items()) + ": " + void.why for void in listed)
    )
    text = f"{len(items)} left out, each with its reason" if study.removed else "none of this design's arms is void"
    return Check("Void combinations", "info", text, tuple(items))


def _conditions(results: Results) -> Check:
    found = warnings(results)[len(results.frame.notes) :]
    if not len(results.frame.ledgers):
        return Check("Equal conditions", "info", "no ledger was recorded, so costs cannot be compared")
    item, words = "examples_understanding", "understanding examples are"
    if not any(sum(per_seed.values()) for per_seed in cost(results.frame, item).values()):
        stages = own_stages(results.frame)
        item, words = "positions", f"patches trained on in the stage {' and '.join(stages)} are"
        counts = {round(average(per_seed)) for per_seed in cost(results.frame, item, stages).values()}
        if len(counts) > 1:
            found = [*found, f"{words} not equal in number: {', '.join(f'{n:,}' for n in sorted(counts))}"]
    text = "arms differ where they should be equal" if found else f"{words} equal in number in every arm"
    return Check("Equal conditions", "warn" if found else "ok", text, tuple(found))


def _axes_only(results: Results) -> Check | None:
    found = results.frame.header.get("confounds")
    if found is None:
        return None
    items = [_words(item) for item in (found.items() if isinstance(found, dict) else found)]
    if not items:
        return Check(
            "Only the axes differ",
            "ok",
            "resolved configurations of any two arms differ in axes and seed only",
        )
    return Check("Only the axes differ", "warn", "configurations differ beyond axes and seed", tuple(items))


def _words(item: Any) -> str:
    if isinstance(item, dict):
        return ", ".join(f"{k}: {v}" for k, v in item.items())
    if isinstance(item, (list, tuple)):
        return ": ".join(str(part) for part in item)
    return str(item)


def _spreads(results: Results) -> Check:
    items = [
        f"{measure.label}: {arm} spreads {ratio:.1f} times as far over seeds as the other arms; its contrasts use "
        "their own variance"
        for measure in results.outcomes
        for arm, ratio in results.effects.unequal.get(measure, {}).items()
    ]
    if max((len(results.frame.done(arm)) for arm in results.frame.arms), default=0) < 2:
        return Check("Spread over seeds", "info", "one seed: nothing to compare")
    text = "no arm's seeds spread over 2.5 times as far as the other arms'" if not items else "unequal spreads"
    return Check("Spread over seeds", "warn" if items else "ok", text, tuple(items))


def _statistics(results: Results) -> Check:
    study = results.frame.study
    items = [
        "Differences are paired by example, blocked by seed and clustered by image; seeds and examples both count "
        "as samples; seed variance pooled over arms; Satterthwaite degrees of freedom; 95 % intervals are "
        "unadjusted.",
        f"Declared family: {'; '.join(study.family) or 'none'}. Holm within each benchmark. Main effects are a "
        "second family. Parts, slices and further splits are exploratory (Benjamini-Hochberg).",
    ]
    return Check(
        "Statistics",
        "info",
        f"crossed seeds × examples; Holm over {len(study.family)} arms, α = 5 %",
        tuple(items),
    )


def _conditional(results: Results) -> Check | None:
    lines = results.frame.study.conditional_on
    if not lines:
        return None
    return Check("Conditional on", "info", "conclusions reach no further than", tuple(lines))


def _seeds(results: Results) -> Check:
    rows = [f"{arm}: {', '.join(map(str, results.frame.done(arm))) or 'none'}" for arm in results.frame.arms]
    seeds = {tuple(results.frame.done(arm)) for arm in results.frame.arms}
    same = len(seeds) == 1
    text = f"every arm has the seeds {', '.join(map(str, next(iter(seeds))))}" if same else "arms have unlike seeds"
    return Check("Seeds", "ok" if same else "warn", text, () if same else tuple(rows))


def _time(results: Results) -> Check | None:
    spent: dict[tuple[str, str], float] = {}
    for run in results.frame.runs.itertuples(index=False):
        for stage, seconds in run.wall_s.items():
            spent[(stage, run.stage_keys.get(stage, f"{run.arm}-{run.seed}"))] = float(seconds)
    if not spent:
        return None
    plan = results.frame.header.get("plan") or {}
    planned, total = plan.get("seconds"), sum(spent.values())
    text = f"{duration(total)} of stages run, shared ones counted once"
    if isinstance(planned, (int, float)) and planned > 0:
        text += f"; planned {duration(planned)} ({total / planned - 1:+.0%})".replace("-", "−")
    by_stage: dict[str, list[float]] = {}
    for (stage, _), seconds in spent.items():
        by_stage.setdefault(stage, []).append(seconds)
    items = tuple(f"{stage}: {len(times)} × {duration(sum(times) / len(times))}" for stage, times in by_stage.items())
    return Check("Plan and actual time", "info", text, items)
