"""What the numbers say, in sentences that are computed and never written by hand.

A finding says which level wins and by how much with its interval, or that there is no evidence and what this
design would have seen; what it costs; and what would change the verdict: more seeds or more examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from reports.budget import average, cost
from reports.contrast import Contrast, half_width
from reports.controls import share
from reports.declare import Display
from reports.effects import Effect
from reports.layout import mismatches
from reports.measure import Measure
from reports.render.numbers import interval, number
from reports.results import Results
from reports.table import Column, common_unit

MOST_SEEDS = 60
CHEAPER = 0.10


@dataclass(frozen=True)
class Finding:
    """One card of the report.

    tone: `good`, `bad`, `mixed` or `none`, of the verdict. `sentence` stands on its own; `lines` are details.
    """

    title: str
    verdict: str
    tone: str
    sentence: str
    value: str = ""
    around: str = ""
    lines: tuple[str, ...] = ()
    change: str = ""


@dataclass
class _Shown:
    """A measure as it is shown: with its name, factor and decimals."""

    measure: Measure
    display: Display
    column: Column = field(init=False)

    def __post_init__(self) -> None:
        self.column = Column("", "", scale=self.display.scale, decimals=self.display.decimals)

    def number(self, value: float, signed: bool = False) -> str:
        return number(self.column, value, signed)

    def interval(self, found: Contrast, sign: int = 1) -> str:
        ends = (found.low, found.high) if sign > 0 else (-found.high, -found.low)
        return interval(self.column, *ends)


def find(results: Results) -> list[Finding]:
    """Every finding: one an arm (an axis, in a factorial design), then controls, then declared statements."""
    findings = []
    if results.headline is None:
        study = results.frame.study
        text = f"Nothing was scored on the headline {study.headline}: there is no finding to state."
        findings.append(Finding("Headline", "not estimable", "none", text))
    else:
        shown = _Shown(results.headline, results.display(results.headline))
        for effect in results.effects.shown(results.headline):
            findings.append(_about_effect(results, shown, effect))
    findings += _about_controls(results)
    findings += _about_ceilings(results)
    findings += _about_statements(results)
    return findings


def sides(results: Results, effect: Effect) -> tuple[str, str, str]:
    """(title, the one compared, what it is compared with) in the study's words."""
    study = results.frame.study
    if effect.kind == "main_effect":
        return str(effect.axis), effect.subject, effect.against
    differing = study.differences(effect.subject, effect.against)
    if len(differing) == 1:
        axis = differing[0]
        return axis, str(study.level(effect.subject, axis)), str(study.level(effect.against, axis))
    return effect.subject, effect.subject, effect.against


def _about_effect(results: Results, shown: _Shown, effect: Effect) -> Finding:
    title, mine, other = sides(results, effect)
    heading = f"{title}: {mine} instead of {other}" if title != mine else mine
    c = effect.contrast
    if not c.known:
        estimate = f" (difference {shown.number(c.estimate, True)})" if math.isfinite(c.estimate) else ""
        sentence = f"{heading}: not estimable on {shown.display.name}, {c.reason}{estimate}."
        return Finding(heading, "not estimable", "none", sentence)
    verdict, tone = _overall(results, effect)
    lines = [
        line for line in (_others(results, effect), _cost(results, effect), _equal(results, shown, effect)) if line
    ]
    if len(effect.pairs) > 1:
        lines.append(f"Mean over {len(effect.pairs)} matched pairs of arms that differ in this axis only.")
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
        _sentence(shown, effect, mine, other),
        shown.number(c.estimate, True),
        shown.interval(c),
        tuple(lines),
        _change(shown, effect),
    )


def _sentence(shown: _Shown, effect: Effect, mine: str, other: str) -> str:
    c, name = effect.contrast, shown.display.name
    better = (c.estimate > 0) == (shown.display.better != "lower")
    sign = 1 if c.estimate > 0 else -1
    size = f"{shown.number(abs(c.estimate))} {name} {shown.interval(c, sign)}"
    first, second = (mine, other) if better else (other, mine)
    if effect.verdict in ("helps", "hurts"):
        return f"{first} beats {second} by {size}, adjusted p {_p(c.p_adjusted)}."
    difference = f"{mine} less {other} is {shown.number(c.estimate, True)} {name} {shown.interval(c)}"
    if effect.verdict == "one seed":
        return f"In these training runs {difference}; one seed, so this covers examples only."
    seen = f"this design would have seen {shown.number(c.detectable)}"
    if effect.verdict == "equivalent":
        return f"{mine} and {other} are equivalent within the declared margin: {difference}; {seen}."
    return f"There is no evidence that {mine} and {other} differ: {difference}{_alone(c)}; {seen}."


def _alone(c: Contrast) -> str:
    """Said where an interval excludes zero and the corrected test does not: both are right, of different questions."""
    if c.low <= 0 <= c.high or not c.family_size > 1:
        return ""
    return f", clear of zero alone but not among {c.family_size} comparisons (adjusted p {_p(c.p_adjusted)})"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


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
        shown = _Shown(measure, results.display(measure))
        c = other.contrast
        mark = "*" if c.significant else ""
        parts.append(f"{shown.display.name} {shown.number(c.estimate, True)}{mark} {shown.interval(c)}")
    return "Also " + "; ".join(parts) + "." if parts else ""


def _arms_of(results: Results, effect: Effect) -> tuple[list[str], list[str]]:
    if effect.kind == "arm":
        return [effect.subject], [effect.against]
    return [arm for arm, _ in effect.pairs], [other for _, other in effect.pairs]


def _ratio(results: Results, effect: Effect, values: dict[str, dict[int, float]]) -> float:
    mine, other = _arms_of(results, effect)
    over = average(dict(enumerate(average(values.get(a, {})) for a in mine)))
    under = average(dict(enumerate(average(values.get(a, {})) for a in other)))
    return over / under if under else math.nan


def _costs(results: Results, effect: Effect) -> dict[str, float]:
    """What changes of the cost: its name -> ratio to the other side."""
    stages = ("pretrain", "cooldown")
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


def _equal(results: Results, shown: _Shown, effect: Effect) -> str:
    budget, values = results.equal_flops
    mine, other = _arms_of(results, effect)
    if not all(values.get(arm) for arm in (*mine, *other)):
        return ""
    gap = average(dict(enumerate(average(values[a]) for a in mine)))
    gap -= average(dict(enumerate(average(values[a]) for a in other)))
    factor, suffix = common_unit([budget])
    return f"At equal FLOPs ({budget * factor:.2f} {suffix}): {shown.number(gap, True)} ‡, from the validation curve."


def _change(shown: _Shown, effect: Effect) -> str:
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


def _about_controls(results: Results) -> list[Finding]:
    findings = []
    for control in dict.fromkeys(g.control for g in results.floors):
        gaps = [g for g in results.floors if g.control == control]
        failing = [g for g in gaps if not g.clear]
        name = {"shuffled": "shuffled-image", "vision_off": "vision-off"}.get(control, control)
        measures = list(dict.fromkeys(g.measure for g in gaps))
        names = " and ".join(results.display(m).name for m in measures)
        smallest = []
        for measure in measures:
            shown = _Shown(measure, results.display(measure))
            least = min((g for g in gaps if g.measure == measure), key=lambda g: g.contrast.low)
            smallest.append(
                f"{shown.display.name}: least by {shown.number(least.contrast.estimate, True)} "
                f"{shown.interval(least.contrast)} ({least.arm})."
            )
        if failing:
            parts = []
            for measure in measures:
                own = [g for g in gaps if g.measure == measure]
                odd = [g.arm for g in own if not g.clear]
                if odd:
                    which = f"all {len(own)} arms" if len(odd) == len(own) > 1 else ", ".join(odd)
                    parts.append(f"{results.display(measure).name} of {which}")
            sentence = f"Not above its {name} control with the interval clear of zero: {'; '.join(parts)}."
            verdict, tone = f"fails for {len(failing)} of {len(gaps)}", "bad"
        else:
            sentence = f"Every arm's {names} is above its {name} control with the interval clear of zero."
            verdict, tone = "holds", "good"
        findings.append(Finding(f"Control: {name}", verdict, tone, sentence, lines=tuple(smallest)))
    return findings


def _about_ceilings(results: Results) -> list[Finding]:
    """How much of what tokenizer and pixel decoder could draw at best is reached."""
    findings = []
    for measure in dict.fromkeys(g.measure for g in results.ceilings):
        shown = _Shown(measure, results.display(measure))
        gaps = [g for g in results.ceilings if g.measure == measure]
        first = next((g for g in gaps if g.arm == results.frame.study.default), gaps[0])
        parts = [
            f"{g.arm}: {share(g):.0%} ({shown.number(g.score)} of {shown.number(g.floor)})." for g in gaps if g.floor
        ]
        sentence = (
            f"{shown.display.name}: {first.arm} reaches {shown.number(first.score)} where reconstruction by its "
            f"tokenizer and pixel decoder reaches {shown.number(first.floor)}; difference "
            f"{shown.interval(first.contrast)}."
        )
        findings.append(
            Finding(
                "Reconstruction ceiling",
                f"{share(first):.0%} reached" if first.floor else "nothing to reach",
                "none",
                sentence,
                lines=tuple(parts),
            )
        )
    return findings


def _about_statements(results: Results) -> list[Finding]:
    findings = []
    for declaration in results.declarations:
        for declared in declaration.statements:
            axis, measure = str(declared["axis"]), results.scores.find(str(declared["score"]))
            if axis not in results.frame.study.axes or measure is None:
                continue
            effects = [e for e in results.effects.main(measure) if e.axis == axis and e.contrast.known]
            findings += [_statement(results, declared, effect) for effect in effects]
            if not effects:
                findings.append(_same_everywhere(results, declared, measure))
    return findings


def _same_everywhere(results: Results, declared: dict[str, str], measure: Measure) -> Finding:
    """A statement for which there is nothing to compare: all runs score alike, or an arm that it needs has no run."""
    levels = results.frame.study.axes[str(declared["axis"])]
    words = {"first": levels[0], "second": " or ".join(levels[1:]), "higher": levels[0], "lower": levels[-1]}
    text = str(declared["same"]).format(**words)
    shown, cube = _Shown(measure, results.display(measure)), results.scores.cube(measure)
    means = {round(v, 9) for arm in results.frame.arms for v in (cube.run_means(arm) if cube else {}).values()}
    why = f"every run scores {shown.number(means.pop())}" if len(means) == 1 else "an arm that this needs has no run"
    title = str(declared.get("title", shown.display.name))
    return Finding(title, "no evidence", "none", f"{text[:1].upper()}{text[1:]}: {shown.display.name}, {why}.")


def _statement(results: Results, declared: dict[str, str], effect: Effect) -> Finding:
    shown = _Shown(effect.measure, results.display(effect.measure))
    c = effect.contrast
    higher, lower = (effect.subject, effect.against) if c.estimate > 0 else (effect.against, effect.subject)
    cube = results.scores.cube(effect.measure)
    mine, other = _arms_of(results, effect)
    means: Callable[[list[str]], float] = lambda arms: average(  # noqa: E731
        {i: average(cube.run_means(a)) for i, a in enumerate(arms)} if cube else {}
    )
    pair = {effect.subject: shown.number(means(mine)), effect.against: shown.number(means(other))}
    sign = 1 if c.estimate > 0 else -1
    title = str(declared.get("title", f"{effect.axis} on {shown.display.name}"))
    words = {"higher": higher, "lower": lower, "first": effect.against, "second": effect.subject}
    detail = f"{shown.display.name} {pair[higher]} against {pair[lower]}"
    if effect.verdict in ("helps", "hurts"):
        text = str(declared["differ"]).format(**words)
        sentence = f"{text}: {detail}, by {shown.number(abs(c.estimate))} {shown.interval(c, sign)}."
        verdict, tone = "yes", "good"
    else:
        text = str(declared["same"]).format(**words)
        sentence = (
            f"{text[:1].upper()}{text[1:]}: {detail} ({shown.number(c.estimate, True)} {shown.interval(c)}){_alone(c)}"
        )
        seen = f"; this design would have seen {shown.number(c.detectable)}." if math.isfinite(c.detectable) else "."
        sentence, verdict, tone = sentence + seen, effect.verdict, "none"
    return Finding(title, verdict, tone, sentence, lines=("Exploratory: outside the declared family.",))


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing a finding: what is unfinished, unmatched or unequal."""
    found = list(results.frame.notes)
    for declaration in results.declarations:
        if declaration.match:
            found += mismatches(results, declaration.match).values()
    counts = cost(results.frame, "examples_understanding")
    base = average(counts.get(results.frame.study.default, {}))
    for arm in results.frame.study.others:
        mine = average(counts.get(arm, {}))
        if math.isfinite(mine) and math.isfinite(base) and mine != base:
            found.append(f"{arm} trained on {mine:,.0f} understanding examples, the default on {base:,.0f}: not equal.")
    return found
