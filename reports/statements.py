"""Findings that are stated whatever the numbers say: controls, ceilings and the declared statements."""

from __future__ import annotations

import math

from reports.budget import average
from reports.controls import CEILINGS, Gap, share
from reports.effects import Effect
from reports.measure import Measure
from reports.results import Results
from reports.wording import Finding, Shown, alone, arms_of

MOST_LISTED = 5
CONTROLS = {"shuffled": "shuffled-image", "vision_off": "vision-off", "text_prior": "text-prior"}


def about_controls(results: Results) -> list[Finding]:
    """For each floor, whether every arm's scores are above it with the interval clear of zero."""
    findings = []
    for control in dict.fromkeys(g.control for g in results.floors):
        gaps = [g for g in results.floors if g.control == control]
        failing = [g for g in gaps if not g.clear]
        name = CONTROLS.get(control, control)
        measures = list(dict.fromkeys(g.measure for g in gaps))
        names = " and ".join(results.display(m).name for m in measures)
        smallest = []
        for measure in measures:
            shown = Shown(measure, results.display(measure))
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


def about_ceilings(results: Results) -> list[Finding]:
    """How much is reached of what could be at best: of reconstruction in drawing, of true features in decoding."""
    findings = []
    for measure, control in dict.fromkeys((g.measure, g.control) for g in results.ceilings):
        shown = Shown(measure, results.display(measure))
        gaps = [g for g in results.ceilings if (g.measure, g.control) == (measure, control)]
        first = next((g for g in gaps if g.arm == results.frame.study.default), gaps[0])
        # A share of what is no share itself (decibels) would say nothing.
        parts_of = all(0 <= value <= 1 for g in gaps for value in (g.score, g.floor))
        known = sorted((g for g in gaps if g.floor), key=share)
        listed = known if len(known) <= MOST_LISTED else [known[0], known[-1]]
        parts = [
            f"{g.arm}: {_reached(shown, g, parts_of)} ({shown.number(g.score)} of {shown.number(g.floor)})."
            for g in listed
        ]
        if len(known) > len(listed):
            parts = [f"Least, {parts[0]}", f"Most, {parts[1]}"]
        sentence = (
            f"{shown.display.name}: {first.arm} reaches {shown.number(first.score)} where {CEILINGS[control]} reaches "
            f"{shown.number(first.floor)}; difference "
            f"{shown.interval(first.contrast)}."
        )
        findings.append(
            Finding(
                "Reconstruction ceiling" if control == "ceiling" else f"Ceiling: {shown.display.name} of true features",
                f"{_reached(shown, first, parts_of)} reached" if first.floor else "nothing to reach",
                "none",
                sentence,
                lines=tuple(parts),
            )
        )
    return findings


def _reached(shown: Shown, gap: Gap, share_of_it: bool) -> str:
    """How near a score comes to its ceiling: as a share of it, or by the difference where shares mean nothing."""
    return f"{share(gap):.0%}" if share_of_it else f"all but {shown.number(gap.floor - gap.score)}"


def about_statements(results: Results) -> list[Finding]:
    """The sentences that tables declare, with what the numbers make of them."""
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
    shown, cube = Shown(measure, results.display(measure)), results.scores.cube(measure)
    means = {round(v, 9) for arm in results.frame.arms for v in (cube.run_means(arm) if cube else {}).values()}
    why = f"every run scores {shown.number(means.pop())}" if len(means) == 1 else "an arm that this needs has no run"
    title = str(declared.get("title", shown.display.name))
    return Finding(title, "not estimable", "none", f"{text[:1].upper()}{text[1:]}: {shown.display.name}, {why}.")


def _statement(results: Results, declared: dict[str, str], effect: Effect) -> Finding:
    shown = Shown(effect.measure, results.display(effect.measure))
    c = effect.contrast
    higher, lower = (effect.subject, effect.against) if c.estimate > 0 else (effect.against, effect.subject)
    cube = results.scores.cube(effect.measure)
    mine, other = arms_of(effect)

    def mean(arms: list[str]) -> float:
        return average({i: average(cube.run_means(a)) for i, a in enumerate(arms)} if cube else {})

    pair = {effect.subject: shown.number(mean(mine)), effect.against: shown.number(mean(other))}
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
            f"{text[:1].upper()}{text[1:]}: {detail} ({shown.number(c.estimate, True)} {shown.interval(c)}){alone(c)}"
        )
        seen = f"; this design would have seen {shown.number(c.detectable)}." if math.isfinite(c.detectable) else "."
        sentence, verdict, tone = sentence + seen, effect.verdict, "none"
    return Finding(title, verdict, tone, sentence, lines=("Exploratory: outside the declared family.",))
