"""What the numbers say, in sentences that are computed and never written by hand.

A finding says which level wins and by how much with its interval, or that there is no evidence and what this
design would have seen; what it costs; and what would change the verdict: more seeds or more examples.
"""

from __future__ import annotations

import math

from reports.budget import average, cost, own_stages
from reports.columns import CHECKS
from reports.contrast import half_width
from reports.effects import Effect
from reports.measure import Measure
from reports.mismatch import mismatches
from reports.results import Results
from reports.statements import about_ceilings, about_controls, about_statements
from reports.table import common_unit
from reports.wording import Finding, Shown, alone, arms_of, format_p

MOST_SEEDS = 60
CHEAPER = 0.10
ANYWHERE = ("none", "all", *CHECKS)


def find(results: Results) -> list[Finding]:
    """Every finding: one an arm (an axis, in a factorial design), then controls, then declared statements."""
    findings = []
    if results.headline is None:
        study = results.frame.study
        scored = ", ".join(measure.label for measure in results.scores.primary)
        text = f"Nothing was scored on the headline {study.headline}, so there is no finding to state."
        text += f" What was scored: {scored}. Name one as `study.headline`."
        findings.append(Finding("Headline", "not estimable", "none", text))
    else:
        shown = Shown(results.headline, results.display(results.headline))
        for effect in results.effects.shown(results.headline):
            findings.append(_about_effect(results, shown, effect))
    findings += about_controls(results)
    findings += about_ceilings(results)
    findings += about_statements(results)
    return findings


def sides(results: Results, effect: Effect) -> tuple[str, str, str]:
    """(title, the one compared, what it is compared with) in the study's words."""
    study = results.frame.study
    if effect.kind == "main_effect":
        return str(effect.axis), effect.subject, effect.against
    differing = study.differences(effect.subject, effect.against)
    if len(differing) == 1 and not {effect.subject, effect.against} & set(study.also):
        axis = differing[0]
        return axis, str(study.level(effect.subject, axis)), str(study.level(effect.against, axis))
    return effect.subject, effect.subject, effect.against


def _spoken(axis: str, level: str) -> str:
    """A level as sentences name it: with its axis where it is a number, a switch or a word that any axis may have."""
    return level if level.lower() not in ANYWHERE and level[:1].isalpha() else f"{axis}={level}"


def _about_effect(results: Results, shown: Shown, effect: Effect) -> Finding:
    title, mine, other = sides(results, effect)
    heading = f"{title}: {mine} instead of {other}" if title != mine else mine
    c = effect.contrast
    if not c.known:
        estimate = f" (difference {shown.number(c.estimate, True)})" if math.isfinite(c.estimate) else ""
        sentence = f"{heading}: not estimable on {shown.display.name}, {c.reason}{estimate}."
        return Finding(heading, "not estimable", "none", sentence)
    verdict, tone = _overall(results, effect)
    lines = [
        line
        for line in (
            _others(results, effect),
            _cost(results, effect),
            _equal(results, shown, effect),
            _matched(results, shown, effect),
        )
        if line
    ]
    if len(effect.pairs) > 1:
        lines.append(f"Mean over {len(effect.pairs)} matched pairs of arms that differ in this axis only.")
    if any(effect.fitted):
        arms = sum(map(len, effect.fitted))
        lines.append(
            f"By least squares over {arms} arms: interactions outside the fraction's model are taken to be nil."
        )
    if effect.verdict in ("helps", "hurts") and math.isfinite(c.detectable):
        lines.append(
            f"This design would have seen {shown.number(c.detectable)} (80 % power, Holm over {c.family_size})."
        )
    if effect.unequal:
        lines.append(f"Seeds of {', '.join(effect.unequal)} spread unlike the others': its own variance is used.")
    return Finding(
        heading,
        verdict,
        tone,
        _sentence(shown, effect, *((mine, other) if title == mine else (_spoken(title, mine), _spoken(title, other)))),
        shown.number(c.estimate, True),
        shown.interval(c),
        tuple(lines),
        _change(shown, effect),
    )


def _sentence(shown: Shown, effect: Effect, mine: str, other: str) -> str:
    c, name = effect.contrast, shown.display.name
    better = (c.estimate > 0) == (shown.display.better != "lower")
    sign = 1 if c.estimate > 0 else -1
    size = f"{shown.number(abs(c.estimate))} {name} {shown.interval(c, sign)}"
    first, second = (mine, other) if better else (other, mine)
    if effect.verdict in ("helps", "hurts"):
        return f"{first} beats {second} by {size}, adjusted p {format_p(c.p_adjusted)}."
    difference = f"{mine} less {other} is {shown.number(c.estimate, True)} {name} {shown.interval(c)}"
    if effect.verdict == "one seed":
        return f"In these training runs {difference}; one seed, so this covers examples only."
    seen = f"this design would have seen {shown.number(c.detectable)}"
    if effect.verdict == "equivalent":
        return f"{mine} and {other} are equivalent within the declared margin: {difference}; {seen}."
    return f"There is no evidence that {mine} and {other} differ: {difference}{alone(c)}; {seen}."


def _same_effect(results: Results, effect: Effect, measure: Measure) -> Effect | None:
    """The same comparison on another measure."""
    if effect.kind == "arm":
        return results.effects.arm(measure, effect.subject)
    rows = results.effects.main(measure)
    return next((e for e in rows if (e.axis, e.subject) == (effect.axis, effect.subject)), None)


def _overall(results: Results, effect: Effect) -> tuple[str, str]:
    """The verdict over all benchmarks, in the words of the field, and its tone."""
    found = [_same_effect(results, effect, m) for m in results.outcomes]
    known = [e for e in found if e is not None and e.contrast.known]
    if effect.verdict in ("one seed", "not estimable"):
        return effect.verdict, "none"
    up, down = (sum(e.verdict == word for e in known) for word in ("helps", "hurts"))
    if effect.verdict == "hurts" and not up and _saving(results, effect) >= CHEAPER:
        return "trade-off", "mixed"
    if up and down:
        return "mixed", "mixed"
    if up or down:
        word, count, tone = ("helps", up, "good") if up else ("hurts", down, "bad")
        return (word if count == len(known) else f"{word} on {count} of {len(known)}"), tone
    return ("equivalent" if effect.verdict == "equivalent" else "no evidence"), "none"


def _others(results: Results, effect: Effect) -> str:
    parts = []
    for measure in results.outcomes:
        other = _same_effect(results, effect, measure)
        if measure == effect.measure or other is None or not other.contrast.known:
            continue
        shown = Shown(measure, results.display(measure))
        c = other.contrast
        mark = "*" if c.significant else ""
        parts.append(f"{shown.display.name} {shown.number(c.estimate, True)}{mark} {shown.interval(c)}")
    return "Also " + "; ".join(parts) + "." if parts else ""


def _ratio(results: Results, effect: Effect, values: dict[str, dict[int, float]]) -> float:
    mine, other = arms_of(effect)
    over = average(dict(enumerate(average(values.get(a, {})) for a in mine)))
    under = average(dict(enumerate(average(values.get(a, {})) for a in other)))
    return over / under if under else math.nan


def _costs(results: Results, effect: Effect) -> dict[str, float]:
    """What changes of the cost: its name -> ratio to the other side."""
    stages = own_stages(results.frame)
    ratios = {"training FLOPs": _ratio(results, effect, cost(results.frame, "flops", stages))}
    headline = results.headline
    cube = results.scores.tokens(headline) if headline else None
    if cube is not None:
        ratios["visual tokens"] = _ratio(results, effect, {arm: cube.run_means(arm) for arm in cube.arms})
    trainable = cost(results.frame, "params_trainable", stages, "max")
    ratios["trainable parameters"] = _ratio(results, effect, trainable)
    return {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}


def _saving(results: Results, effect: Effect) -> float:
    """The larger saving in FLOPs or visual tokens, as a share; 0 where either costs more."""
    ratios = [r for n, r in _costs(results, effect).items() if n != "trainable parameters"]
    return 1 - min(ratios) if ratios and max(ratios) < 1.02 else 0.0


def _cost(results: Results, effect: Effect) -> str:
    ratios = _costs(results, effect)
    if not ratios:
        return ""
    changed = [f"{name} {ratio - 1:+.0%}".replace("-", "−") for name, ratio in ratios.items() if abs(ratio - 1) > 0.005]
    return "Cost: " + (", ".join(changed) if changed else "the same") + "."


def _equal(results: Results, shown: Shown, effect: Effect) -> str:
    budget, values = results.equal_flops
    mine, other = arms_of(effect)
    if not all(values.get(arm) for arm in (*mine, *other)):
        return ""
    found = results.at_equal_flops(effect.weights)
    factor, suffix = common_unit([budget])
    number = f"{shown.number(found.estimate, True)} ‡" + (f" {shown.interval(found)}" if found.known else "")
    over = " over seeds alone" if found.known else ""
    return f"At equal FLOPs ({budget * factor:.2f} {suffix}): {number}, from the validation curve{over}."


def _matched(results: Results, shown: Shown, effect: Effect) -> str:
    """The same comparison at the smaller of the two budgets, where the study asks for it."""
    found = next((m for m in results.matched if effect.kind == "arm" and m.effect.subject == effect.subject), None)
    if found is None or not math.isfinite(found.effect.contrast.estimate):
        return ""
    c = found.effect.contrast
    factor, suffix = common_unit([found.budget])
    number = f"{shown.number(c.estimate, True)} ‡" + (f" {shown.interval(c)}" if c.known else f" ({c.reason})")
    return (
        f"With {found.by.replace('_', ' ')} matched to {found.effect.against} at {found.budget * factor:.2f} {suffix} "
        f"(its own are {found.ratio:.2f} times those): {number}, {found.on_the_way} read on the way from its "
        "validation curve; exploratory."
    )


def _change(shown: Shown, effect: Effect) -> str:
    """What would change the verdict, from the two parts of the variance."""
    c = effect.contrast
    if c.scope == "this training run only":
        return "a second seed: without one nothing is known about the method beyond this run."
    if c.scope != "seeds and examples" or not c.se > 0:
        return ""
    alpha = 0.05 / c.family_size
    now, then = shown.number(half_width(c, c.n_seeds)), shown.number(half_width(c, 2 * c.n_seeds))
    if effect.verdict in ("helps", "hurts"):
        times = abs(c.estimate) / c.detectable if c.detectable > 0 else math.inf
        text = f"a true difference below {shown.number(c.detectable)} could have been missed; the observed one is "
        text += f"{times:.1f} times that."
        return text + f" {2 * c.n_seeds} seeds would narrow ±{now} to ±{then}."
    seeds = next((s for s in range(c.n_seeds + 1, MOST_SEEDS) if half_width(c, s, alpha=alpha) < abs(c.estimate)), None)
    if seeds is not None:
        return (
            f"an effect of the size observed would be called with {seeds} seeds ({2 * c.n_seeds}: ±{then}, now ±{now})."
        )
    factors = (2, 3, 5, 10, 20, 50, 100)
    more = next((k for k in factors if half_width(c, MOST_SEEDS, k, alpha) < abs(c.estimate)), None)
    if more is None:
        return f"nothing feasible: the estimate is too close to zero ({2 * c.n_seeds} seeds: ±{then}, now ±{now})."
    return (
        f"no number of seeds settles an effect of the size observed on this test set: it needs about {more} times "
        "the examples as well."
    )


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing a finding: what is unfinished, unmatched or unequal."""
    found = list(results.frame.notes)
    for declaration in results.declarations:
        unmatched = list(mismatches(results, declaration.match).values()) if declaration.match else []
        found += unmatched[:1]
        if len(unmatched) > 1:
            found[-1] += f" The same holds for {len(unmatched) - 1} more arms: see the table of the {declaration.name}."
    counts = cost(results.frame, "examples_understanding")
    base = average(counts.get(results.frame.study.default, {}))
    for arm in results.frame.study.others:
        mine = average(counts.get(arm, {}))
        if math.isfinite(mine) and math.isfinite(base) and mine != base:
            found.append(f"{arm} trained on {mine:,.0f} understanding examples, the default on {base:,.0f}: not equal.")
    return found
