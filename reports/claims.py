"""Published statements beside what this study found of the same question: never the same scale, and so never ranked.

A statement (`claims` in `reports/published/NAME.yaml`) names an axis, the level it is about (`of`), the level it is
held against (`over`), `what` (headline, tokens or flops), what was `said`, and a `ratio` where a figure was given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from reports.budget import average, cost, own_stages
from reports.cited import read_published
from reports.contrast import Contrast
from reports.declare import Declaration
from reports.levels import Level, levels_of
from reports.measure import Measure
from reports.results import Results
from reports.table import Cell, Column, Footnotes, Row, Table

APART = (
    "Another scale, other data and other scores: beside each other, not comparable in size; nothing is tested between."
)


def build_claims(results: Results, declaration: Declaration) -> Table | None:
    """A row for each statement on whose question this study has both levels; None where it has none."""
    headline = results.headline
    if headline is None:
        return None
    published, notes, rows = read_published(declaration.claims), Footnotes(), []
    letter = notes.letter(f"{published.reference}. {published.note}".strip())
    for claim in published.claims:
        if claim["axis"] not in results.frame.study.axes:
            continue
        levels = {level.name: level for level in levels_of(results, headline, claim["axis"]) if level.weights}
        if {claim["of"], claim["over"]} <= set(levels):
            rows.append(_row(results, headline, claim, levels[claim["of"]], levels[claim["over"]], letter))
    if not rows:
        return None
    display = results.display(headline)
    columns: tuple[Column, ...] = (
        Column("claim", "Question", kind="text"),
        Column("said", "said", "Published", kind="word"),
        Column("published", "ratio, %", "Published", scale=100, decimals=0),
        Column("ratio", "ratio, %", "This study", scale=100, decimals=0),
        Column("difference", display.name, "This study", scale=display.scale, decimals=display.decimals, signed=True),
        Column("verdict", "verdict", "This study", kind="word"),
    )
    columns = tuple(c for c in columns if any(row.cells[c.key] != Cell() for row in rows))
    caption = f"{declaration.title}. {APART} Intervals of 95 % over seeds and examples."
    if display.scale == 100:
        caption += " Differences × 100."
    return Table(
        declaration.name, declaration.title, caption, columns, tuple(rows), notes.listed(), results.frame.study.headline
    )


def _row(results: Results, headline: Measure, claim: dict[str, Any], of: Level, over: Level, letter: str) -> Row:
    what, blank = claim["what"], Cell()
    title = f"{claim['claim']}: {of.name} against {over.name}"
    cells = {
        "claim": Cell(text=title),
        "said": Cell(text=str(claim["said"]), muted=True, notes=(letter,)),
        "published": Cell(mean=float(claim["ratio"]), muted=True) if "ratio" in claim else blank,
        "ratio": blank,
        "difference": blank,
        "verdict": blank,
    }
    if what == "headline":
        effect, sign = (of.effect, 1) if of.effect is not None else (over.effect, -1)
        if effect is not None and effect.contrast.known:
            found = effect.contrast if sign > 0 else _turned(effect.contrast)
            cells["difference"] = Cell(mean=found.estimate, interval=found, examples=found.n_examples)
            turned = {"helps": "hurts", "hurts": "helps"} if sign < 0 else {}
            words = {"helps": "better", "hurts": "worse"}
            verdict = turned.get(effect.verdict, effect.verdict)
            cells["verdict"] = Cell(text=words.get(verdict, verdict))
        else:
            cells["verdict"] = Cell(text="not estimable")
    else:
        ratio = _ratio(results, headline, what, of, over)
        cells["ratio"] = Cell(mean=ratio) if math.isfinite(ratio) else Cell(absent=True)
        cells["verdict"] = Cell(text="training FLOPs here" if what == "flops" else "")
    return Row(title, cells, "claim", arms=(*of.arms, *over.arms))


def _turned(found: Contrast) -> Contrast:
    return replace(found, estimate=-found.estimate, low=-found.high, high=-found.low)


def _ratio(results: Results, headline: Measure, what: str, of: Level, over: Level) -> float:
    if what == "flops":
        values = cost(results.frame, "flops", own_stages(results.frame))
    else:
        cube = results.scores.tokens(headline)
        values = {arm: cube.run_means(arm) for arm in cube.arms} if cube is not None else {}
    mine, other = (
        sum(weight * average(values.get(arm, {})) for arm, weight in level.weights.items()) for level in (of, over)
    )
    return mine / other if other else math.nan
