"""Where a declared column's numbers come from: every source of `reports.declare` becomes cells, one an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from reports.budget import at_equal_flops, average, cost, own_stages
from reports.controls import control_gaps
from reports.matched import Matched
from reports.measure import Cube, Measure
from reports.mismatch import mismatches
from reports.score_columns import DASH, Made, ScoreColumns, sentence
from reports.table import Cell, Column, common_unit

CHECKS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ColumnMaker(ScoreColumns):
    """Makes the columns of one declared table."""

    def make(self, declared: Mapping[str, Any]) -> Made:
        """The columns of one declaration; none where nothing was measured."""
        makers: dict[str, Callable[[Mapping[str, Any]], Made]] = {
            "axes": self._axes,
            "ledger": self._ledger,
            "tokens": self._tokens,
            "score": self._score,
            "headline": self._headline,
            "slices": self._slices,
            "equal_flops": self._equal_flops,
            "equal_budget": self._equal_budget,
            "control": self._control,
            "gap": self._gap,
            "metric": self._metric,
            "rest": self._rest,
        }
        return makers[next(source for source in makers if source in declared)](declared)

    def _axes(self, declared: Mapping[str, Any]) -> Made:
        wanted = declared["axes"]
        axes = [a for a in self.study.axes if wanted is True or a in wanted]
        made: Made = []
        for axis in axes:
            levels = self.study.axes[axis]
            if len(levels) > 1 and len({self.study.arms[arm].get(axis) for arm in self.arms}) == 1 < len(self.arms):
                continue  # its other levels are void in this study
            binary = len(levels) == 2 and {CHECKS.get(level.lower()) for level in levels} == {True, False}
            cells = {}
            for arm in self.arms:
                level, why = self.study.level(arm, axis), self.study.void_reason(arm, axis)
                muted = level == self.study.arms[self.study.default].get(axis) and arm != self.study.default
                if level is None:
                    notes = (self.notes.letter(f"No level to take: {why}."),) if why else ()
                    cells[arm] = replace(DASH, notes=notes)
                elif binary:
                    cells[arm] = Cell(text=level, check=CHECKS[level.lower()], muted=muted)
                else:
                    cells[arm] = Cell(text=level, muted=muted)
            made.append((Column(f"axis.{axis}", axis, "Axes", "axis"), cells))
        return made

    def _ledger(self, declared: Mapping[str, Any]) -> Made:
        stages = declared.get("stages") or own_stages(self.results.frame)
        values = cost(self.results.frame, declared["ledger"], stages, declared.get("reduce", "sum"))
        if not any(value for per_seed in values.values() for value in per_seed.values()):
            return []  # no arm of the study has any of it
        column = self._number(declared, f"cost.{declared['ledger']}", kind="cost", spread=False)
        return self._plain(_with_unit(column, declared, values), values)

    def _tokens(self, declared: Mapping[str, Any]) -> Made:
        for benchmark in declared["tokens"]:
            for measure in self.results.scores.primary:
                cube = self.results.scores.tokens(measure) if measure.benchmark == benchmark else None
                if cube is not None:
                    values = {arm: cube.run_means(arm) for arm in self.arms}
                    return self._plain(self._number(declared, "cost.tokens", kind="cost", spread=False), values)
        return []

    def _metric(self, declared: Mapping[str, Any]) -> Made:
        rows = self.results.frame.metrics
        rows = rows[rows["name"] == declared["metric"]]
        values: dict[str, dict[int, float]] = {}
        for row in rows.itertuples(index=False):
            values.setdefault(str(row.arm), {})[int(row.seed)] = float(row.value)
        column = self._number(declared, f"metric.{declared['metric']}")
        made = self._plain(_with_unit(column, declared, values), values)
        for arm, cell in made[0][1].items() if made else ():
            if cell.absent and (why := self.results.frame.why_skipped(arm, declared["metric"])):
                made[0][1][arm] = replace(cell, notes=(self.notes.letter(sentence(why)),))
        match = self.declaration.match
        if made and match and match.get("metric") == declared["metric"]:
            self._flag_mismatch(made[0][1], match, values)
        return made

    def _flag_mismatch(
        self, cells: dict[str, Cell], match: Mapping[str, Any], values: dict[str, dict[int, float]]
    ) -> None:
        for arm, text in mismatches(self.results, match, values).items():
            text = text.removeprefix(f"{arm} ")  # the row says whose it is, and arms that agree share the note
            note = self.notes.letter(text[:1].upper() + text[1:])
            cells[arm] = replace(cells[arm], notes=(*cells[arm].notes, note))

    def _equal_flops(self, declared: Mapping[str, Any]) -> Made:
        budget, values = at_equal_flops(self.results.frame, f"val/{declared['equal_flops']}")
        if not values:
            return []
        factor, suffix = common_unit([budget])
        note = self.notes.letter(
            f"Read from the validation curve at {budget * factor:.2f} {suffix}FLOPs, the smallest total of any arm: "
            "arms that trained on are read on the way, before their cool-down. The findings have intervals."
        )
        column = self._number(declared, f"equal_flops.{declared['equal_flops']}", note=note, spread=False)
        column = replace(column, label=column.label + " ‡")
        return self._plain(column, values, "The validation curve does not reach that budget.")

    def _equal_budget(self, declared: Mapping[str, Any]) -> Made:
        """The headline against the reference where both had cost the same, with its interval."""
        headline, made = self.results.headline, []
        known = [m for m in self.results.matched if math.isfinite(m.effect.contrast.estimate)]
        for by in dict.fromkeys(m.by for m in known):
            if headline is not None:
                found = {m.effect.subject: m for m in known if m.by == by}
                made.append(self._one_budget(declared, headline, found))
        return made

    def _one_budget(
        self, declared: Mapping[str, Any], headline: Measure, found: Mapping[str, Matched]
    ) -> tuple[Column, dict[str, Cell]]:
        first = next(iter(found.values()))
        by, display = first.by.replace("train_", "").replace("_", " "), self.results.display(headline)
        how = "the dearer of the two was cooled down a second time, where its trunk had cost what the other did in all"
        if first.interpolated:
            how = "read from the validation curves (‡): the dearer of the two on the way, before its cool-down"
        note = self.notes.letter(
            f"{display.name} less that of {first.effect.against} at equal {by}: {how}. Exploratory, corrected by "
            "Benjamini and Hochberg; arms of the same budget have none."
        )
        column = self._number(declared, f"equal_budget.{first.by}", signed=True, note=note)
        mark = " ‡" if first.interpolated else ""
        column = replace(column, label=f"Δ at equal {by}{mark}", scale=display.scale, decimals=display.decimals)
        cells = {}
        for arm in self.arms:
            told = found[arm].effect.contrast if arm in found else None
            cells[arm] = DASH if told is None else Cell(mean=told.estimate, interval=told, called=told.significant)
        return column, cells

    def _find_control(self, text: str) -> tuple[Measure | None, str]:
        label, _, control = text.partition("@")
        measure = self.results.scores.find(label)
        if measure is None or control not in self.results.scores.controls(measure):
            return None, control
        return measure, control

    def _control(self, declared: Mapping[str, Any]) -> Made:
        measure, control = self._find_control(declared["control"])
        if measure is None:
            return []
        cube: Cube | None = self.results.scores.cube(replace(measure, control=control))
        values = {arm: cube.run_means(arm) for arm in self.arms} if cube is not None else {}
        column = self._number(declared, f"control.{declared['control']}")
        return self._plain(column, values)  # a floor or a ceiling, never ranked

    def _gap(self, declared: Mapping[str, Any]) -> Made:
        measure, control = self._find_control(declared["gap"])
        if measure is None:
            return []
        gaps = {gap.arm: gap for gap in control_gaps(self.results.scores, measure, control)}
        if not gaps:
            return []
        column = self._number(declared, f"gap.{declared['gap']}", signed=True)
        cube = self.results.scores.cube(measure)
        paired = next(iter(gaps.values())).contrast.n_examples
        if cube is not None and paired != cube.examples:
            note = f"The control was run on {paired} of the {cube.examples} examples; the difference is on those."
            column = replace(column, note=self.notes.letter(note))
        cells = {
            arm: Cell(
                mean=gaps[arm].contrast.estimate,
                interval=gaps[arm].contrast,
                called=gaps[arm].clear,
                examples=paired,
            )
            if arm in gaps and math.isfinite(gaps[arm].contrast.estimate)
            else DASH
            for arm in self.arms
        }
        return [(column, cells)]


def _with_unit(column: Column, declared: Mapping[str, Any], values: dict[str, dict[int, float]]) -> Column:
    if declared.get("unit") != "si":
        return column
    factor, suffix = common_unit([average(v) for v in values.values()])
    label = f"{column.label} ({suffix})" if suffix else column.label
    return replace(column, scale=factor, label=label, decimals=column.decimals if suffix else 0)
