"""Where a declared column's numbers come from: every source of `reports.declare` becomes cells, one an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reports.best import best_group, seeds_cube
from reports.budget import at_equal_flops, average, cost, own_stages
from reports.controls import control_gaps
from reports.declare import Declaration, decimals
from reports.effects import Spread, outlying_arms, spread_of
from reports.measure import Cube, Measure
from reports.mismatch import mismatches
from reports.results import Results
from reports.table import Cell, Column, Footnotes, common_unit, ranked

DASH = Cell(absent=True)
CHECKS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
Made = list[tuple[Column, dict[str, Cell]]]


@dataclass
class ColumnMaker:
    """Makes the columns of one declared table.

    Attributes:
        notes: footnotes of the table, shared with whoever lays it out.
        families: in which families the shown differences were corrected.
        grouped: whether any column's best group was tested.
    """

    results: Results
    declaration: Declaration
    notes: Footnotes = field(default_factory=Footnotes)
    families: set[str] = field(default_factory=set)
    grouped: bool = False

    def __post_init__(self) -> None:
        self.study = self.results.frame.study
        self.arms = self.results.frame.arms

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

    def _number(self, declared: Mapping[str, Any], key: str, **options: Any) -> Column:
        return Column(
            key=key,
            label=str(declared.get("label", key)),
            group=str(declared.get("group", "")),
            scale=float(declared.get("scale", 1)),
            decimals=decimals(declared),
            hint=str(declared.get("hint", "")),
            better=declared.get("better"),
            **options,
        )

    def _plain(self, column: Column, values: dict[str, dict[int, float]], absent: str = "") -> Made:
        """A column of means over seeds, without comparison."""
        if not any(values.get(arm) for arm in self.arms):
            return []
        cells = {}
        for arm in self.arms:
            per_seed = values.get(arm) or {}
            if per_seed:
                cells[arm] = mean_cell(per_seed)
            else:
                cells[arm] = replace(DASH, notes=(self.notes.letter(absent),) if absent else ())
        cube = seeds_cube(self.arms, values) if column.better else None
        return [(column, self._ranked(column, cells, cube, None))]

    def _ranked(self, column: Column, cells: dict[str, Cell], cube: Cube | None, spread: Spread | None) -> dict[str, Cell]:
        """The cells with the best of the column marked, by the table's rule."""
        group: set[int] = set()
        if column.better and cube is not None and self.declaration.bold == "best_group":
            weights = [{arm: 1.0} for arm in self.arms]
            group = best_group(cube, weights, column.better == "lower", spread or spread_of(cube))
            self.grouped = self.grouped or bool(group)
        return dict(zip(self.arms, ranked(column, [cells[arm] for arm in self.arms], group), strict=True))

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

    def _score(self, declared: Mapping[str, Any]) -> Made:
        measure = self.results.scores.find(declared["score"])
        if measure is None:
            return []
        return self._measured(measure, declared, f"score.{measure.label}")

    def _headline(self, declared: Mapping[str, Any]) -> Made:
        measure = self.results.headline
        if measure is None:
            return []
        label = f"{measure.benchmark}/{measure.name}"
        elsewhere = next(filter(None, (d.column(label) for d in self.results.declarations)), None)
        display = self.results.display(measure)
        shown = {"label": measure.name, "group": measure.benchmark, "scale": display.scale, "better": display.better}
        return self._measured(measure, elsewhere or {**shown, "decimals": display.decimals}, f"score.{measure.label}")

    def _slices(self, declared: Mapping[str, Any]) -> Made:
        measure = self.results.scores.find(declared["slices"])
        made: Made = []
        for kind in self.results.scores.kinds(measure) if measure else []:
            assert measure is not None
            named = {**declared, "label": kind}
            made += self._measured(replace(measure, kind=kind), named, f"score.{measure.label}.{kind}")
        return made

    def _rest(self, declared: Mapping[str, Any]) -> Made:
        named = [self.results.scores.find(str(c["score"])) for c in self.declaration.columns if "score" in c]
        made: Made = []
        for measure in self.results.outcomes:
            if measure not in named:
                display = self.results.display(measure)
                shown = {"label": measure.name, "group": measure.benchmark, "scale": display.scale}
                columns = [d.column(f"{measure.benchmark}/{measure.name}") for d in self.results.declarations]
                for declared_elsewhere in filter(None, columns):
                    shown |= {k: declared_elsewhere[k] for k in ("group", "label", "hint") if k in declared_elsewhere}
                options = {**shown, "decimals": display.decimals, "better": display.better}
                made += self._measured(measure, options, f"score.{measure.label}")
        return made

    def _measured(self, measure: Measure, declared: Mapping[str, Any], key: str) -> Made:
        """A score with its spread over seeds and, unless declined, its difference to the default."""
        cube = self.results.scores.cube(measure)
        if cube is None:
            return []
        column = self._number(declared, key)
        cells = {}
        for arm in self.arms:
            per_seed = cube.run_means(arm)
            if not per_seed:
                cells[arm] = replace(DASH, notes=self._why_absent(arm, measure, declared))
                continue
            cell = mean_cell(per_seed, cube.examples)
            effect = self.results.effects.arm(measure, arm)
            if effect is not None and declared.get("delta", True) and effect.contrast.known:
                notes = cell.notes
                if effect.unequal:
                    ratio = self.results.effects.unequal[measure]
                    odd = " and ".join(f"{a} ({ratio[a]:.1f}×)" for a in effect.unequal)
                    notes = (self.notes.letter(f"Seeds of {odd} spread unlike the other arms': own variance used."),)
                cell = replace(cell, delta=effect.contrast, called=effect.contrast.significant, notes=notes)
                self.families.add(effect.family)
            cells[arm] = cell
        unequal = self.results.effects.unequal.get(measure)
        spread = Spread(unequal, outlying_arms(cube, unequal)) if unequal is not None else None
        return [(column, self._ranked(column, cells, cube, spread))]

    def _why_absent(self, arm: str, measure: Measure, declared: Mapping[str, Any]) -> tuple[str, ...]:
        if not self.results.frame.done(arm):
            return ()
        if why := self.results.frame.why_skipped(arm, f"{measure.benchmark}/{measure.name}"):
            return (self.notes.letter(sentence(why)),)
        needs = declared.get("needs")
        if needs and average(cost(self.results.frame, needs).get(arm, {})) == 0:
            what = str(needs).removeprefix("examples_")
            return (self.notes.letter(f"Trained on no {what} examples, so there is no {measure.benchmark} score."),)
        return (self.notes.letter(f"{arm} was not scored on {measure.benchmark}."),)

    def _equal_flops(self, declared: Mapping[str, Any]) -> Made:
        budget, values = at_equal_flops(self.results.frame, f"val/{declared['equal_flops']}")
        if not values:
            return []
        factor, suffix = common_unit([budget])
        note = self.notes.letter(
            f"Read from the validation curve at {budget * factor:.2f} {suffix}FLOPs, the smallest total of any arm: "
            "arms that trained on are read on the way, before their cool-down; no interval."
        )
        column = self._number(declared, f"equal_flops.{declared['equal_flops']}", note=note, spread=False)
        column = replace(column, label=column.label + " ‡")
        return self._plain(column, values, "The validation curve does not reach that budget.")

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


def sentence(text: str) -> str:
    """Words as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def mean_cell(per_seed: dict[int, float], examples: int | None = None) -> Cell:
    """The mean over seeds with their SD."""
    values = list(per_seed.values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    mean = float(np.mean(values))
    return Cell(mean=mean, spread=spread, seeds=tuple(sorted(per_seed.items())), examples=examples)


def _with_unit(column: Column, declared: Mapping[str, Any], values: dict[str, dict[int, float]]) -> Column:
    if declared.get("unit") != "si":
        return column
    factor, suffix = common_unit([average(v) for v in values.values()])
    label = f"{column.label} ({suffix})" if suffix else column.label
    return replace(column, scale=factor, label=label, decimals=column.decimals if suffix else 0)
