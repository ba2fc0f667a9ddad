"""What the numbers say, in sentences that are computed and never written by hand.

A finding says which level wins and by how much with its interval, or that there is no evidence and what this
design would have seen; what it costs; and what would change the verdict: more seeds or more examples.
"""

from __future__ import annotations

import math

from reports.budget import average, cost
from reports.columns import CHECKS
from reports.effects import Effect
from reports.measure import Measure
from reports.mismatch import mismatches
from reports.outlook import what_would_change
from reports.results import Results
from reports.sensitivity import OWN
from reports.spending import cost_line, equal_flops_line, matched_line, saving
from reports.statements import about_ceilings, about_controls, about_statements
from reports.wording import Finding, Shown, alone, format_p

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
        change = what_would_change(shown, effect)
        return Finding(heading, "not estimable", "none", sentence, change=change)
    verdict, tone = _overall(results, effect)
    lines = [
        line
        for line in (
            _others(results, effect),
            cost_line(results, effect),
            equal_flops_line(results, shown, effect),
            matched_line(results, shown, effect),
        )
        if line
    ]
    lines += [*_together(results, effect), *_sensitive(results, shown, effect)]
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
        what_would_change(shown, effect, _margin(results, effect)),
    )


def _together(results: Results, effect: Effect) -> list[str]:
    """Said of an arm that differs from the default by more than one thing: nothing tells which of them it is."""
    study = results.frame.study
    if effect.kind != "arm":
        return []
    things = [*study.differences(effect.subject, effect.against)]
    if {effect.subject, effect.against} & set(study.also):
        things.append("settings beyond its levels")
    if len(things) < 2:
        return []
    listed = f"{', '.join(things[:-1])} and {things[-1]}"
    return [f"Differs from {effect.against} in {listed}: the difference is that of all of these together."]


def _margin(results: Results, effect: Effect) -> float | None:
    """The study's margin, where it is about this measure."""
    return results.frame.study.margin if effect.measure == results.headline else None


def _sensitive(results: Results, shown: Shown, effect: Effect) -> list[str]:
    """The interval of the arm's own seeds, always, and the other analyses where they say otherwise."""
    found = next((s for s in results.sensitivity if s.effect is effect), None)
    if found is None:
        return []
    lines = []
    for reading in found.readings[1:]:
        if reading.name == OWN or reading.changed:
            odd = f": {reading.verdict}" if reading.changed else ""
            lines.append(f"{reading.name} {shown.ends(reading.low, reading.high)}{odd}")
    return ["Sensitivity: " + "; ".join(lines) + "."] if lines else []


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
    if effect.verdict == "hurts" and not up and saving(results, effect) >= CHEAPER:
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
