"""A table with one row a comparison: main effects, interactions or arms, each with its interval, p, power and data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from reports.captions import most_seeds
from reports.declare import Declaration, Display
from reports.effects import Effect
from reports.measure import Measure
from reports.results import Results
from reports.study import Study
from reports.table import Cell, Column, Row, Table
from reports.wording import arms_of

COLUMNS = ("estimate", "interval", "p", "p_adjusted", "verdict", "detectable", "seeds", "examples", "unpooled")
NO_CORNERS = "no four arms with scores differ in these two axes alone"


def build_effects(results: Results, declaration: Declaration) -> Table | None:
    """The declared comparisons on the headline; None where there is none."""
    measure = results.headline
    if measure is None:
        return None
    display = results.display(measure)
    columns = _columns(display)
    rows: list[Row] = []
    more: list[str] = []
    for kind in declaration.effects:
        made = [_row(effect) for effect in _effects(results, measure, kind)]
        if kind == "interactions":
            if made:
                made += _lost(results, measure)
            elif len(results.frame.study.axes) > 1:
                more.append(f"Interactions: not estimable, {NO_CORNERS}.")
        if rows and made:
            made[0] = replace(made[0], rule=True)
        rows += made
    if not rows:
        return None
    return Table(
        declaration.name,
        declaration.title,
        " ".join([_caption(results, declaration, display, rows), *more]),
        columns,
        tuple(rows),
        headline=results.frame.study.headline,
    )


def _effects(results: Results, measure: Measure, kind: str) -> list[Effect]:
    if kind == "interactions":
        return results.effects.interactions(measure)
    if kind == "main" and results.effects.by_axis:
        return results.effects.main(measure)
    return [e for e in results.effects.effects if e.kind == "arm" and e.measure == measure]


def _columns(display: Display) -> tuple[Column, ...]:
    shown = {"scale": display.scale, "decimals": display.decimals}
    own, design = f"Effect on {display.name}", "Design"
    return (
        Column("effect", "Effect", kind="text"),
        Column("estimate", "estimate", own, signed=True, spread=False, **shown),  # type: ignore[arg-type]
        Column("interval", "95 % interval", own, **shown),  # type: ignore[arg-type]
        Column("p", "p", own, form="p"),
        Column("p_adjusted", "adjusted p", own, form="p"),
        Column("verdict", "verdict", own, kind="word"),
        Column("detectable", "detectable", design, hint="smallest true difference called at 80 % power", **shown),  # type: ignore[arg-type]
        Column("seeds", "seeds", design, decimals=0),
        Column("examples", "examples", design, decimals=0),
        Column("unpooled", "unpooled interval", "Sensitivity", hint="with these arms' own seed variance", **shown),  # type: ignore[arg-type]
    )


def _row(effect: Effect) -> Row:
    c, name = effect.contrast, Cell(text=_title(effect))
    if effect.quadruples:
        arms: tuple[str, ...] = tuple(dict.fromkeys(itertools.chain(*effect.quadruples)))
    else:
        arms = tuple(dict.fromkeys(itertools.chain(*arms_of(effect))))
    if not c.known:
        return _not_estimable(effect.name, c.reason)
    exploratory = " (exploratory)" if effect.family == "exploratory" else ""
    cells = {
        "effect": name,
        "estimate": Cell(mean=c.estimate, called=c.significant, examples=c.n_examples),
        "interval": Cell(ends=(c.low, c.high)),
        "p": Cell(mean=c.p),
        "p_adjusted": Cell(mean=c.p_adjusted),
        "verdict": Cell(text=effect.verdict + exploratory, muted=not c.significant),
        "detectable": Cell(mean=c.detectable),
        "seeds": Cell(mean=float(c.n_seeds)),
        "examples": Cell(mean=float(c.n_examples)),
        "unpooled": Cell(ends=(c.unpooled_low, c.unpooled_high)) if c.n_seeds > 1 else Cell(absent=True),
    }
    return Row(effect.name, cells, "effect", arms=arms)


def _title(effect: Effect) -> str:
    if effect.kind != "interaction":
        return effect.name
    return effect.name.replace(" with ", " × ")


def _lost(results: Results, measure: Measure) -> Iterator[Row]:
    """The interactions that the study's arms do not tell, each with the reason."""
    study = results.frame.study
    told = {effect.name for effect in results.effects.interactions(measure)}
    for (first, a_levels), (second, b_levels) in itertools.combinations(study.axes.items(), 2):
        for a, b in itertools.product(a_levels[1:], b_levels[1:]):
            name = f"{first}={a} with {second}={b}"
            if name not in told:
                yield _not_estimable(name, _why_lost(study, {first: a, second: b}))


def _why_lost(study: Study, levels: dict[str, str]) -> str:
    """Why no four arms tell an interaction: the two levels exclude each other, or one of them takes an axis away."""
    void = next((void.why for void in study.voids if void.levels == levels), "")
    if void:
        return void
    for axis, level in levels.items():
        arms = [arm for arm in study.arms if study.arms[arm].get(axis) == level]
        for other in study.axes:
            reasons = [study.void_reason(arm, other) for arm in arms]
            if arms and all(reasons):
                return f"no arm with {axis}={level} has a partner, {reasons[0]}"
    return NO_CORNERS


def _not_estimable(name: str, reason: str) -> Row:
    """No number, but the reason."""
    cells = {column: Cell() for column in COLUMNS} | {"effect": Cell(text=name.replace(" with ", " × "))}
    return Row(name, cells, "effect", message=f"not estimable: {reason}")


def _caption(results: Results, declaration: Declaration, display: Display, rows: list[Row]) -> str:
    parts = [f"{declaration.title}: {display.name}."]
    if results.effects.by_axis and "main" in declaration.effects:
        parts.append(f"Main effects {results.effects.basis}.")
    elif {"main", "arms"} & set(declaration.effects):
        parts.append("Each arm less the default.")
    covers = "seeds and examples" if most_seeds(results) > 1 else "examples only: one seed"
    parts.append(
        f"Intervals of 95 %, not corrected, over {covers}. Adjusted p: Holm over each family, declared before;"
    )
    parts.append(
        "exploratory ones by Benjamini and Hochberg. Detectable: the smallest true difference that this design"
    )
    parts.append("calls at 80 % power. Unpooled: the interval from these arms' own seeds, as a check on pooling.")
    if any("×" in row.cells["effect"].text for row in rows):
        parts.append("An interaction a × b: by how much b changes what a does.")
    if display.scale == 100:
        parts.append("Differences × 100.")
    return " ".join(parts)
