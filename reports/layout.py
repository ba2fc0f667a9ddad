"""Lay a declared table out: every column's source becomes cells, one row an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.budget import at_equal_flops, average, cost, own_stages
from reports.controls import control_gaps
from reports.declare import Declaration, decimals
from reports.measure import Cube, Measure
from reports.results import Results
from reports.table import Cell, Column, Footnotes, Row, Table, common_unit, ranked

DASH = Cell(absent=True)
CHECKS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
Made = list[tuple[Column, dict[str, Cell]]]


def build_tables(results: Results) -> list[Table]:
    """Every declared table that has something to show; `main` is always there."""
    return [t for t in (_Builder(results, d).build() for d in results.declarations) if t is not None]


@dataclass
class _Builder:
    results: Results
    declaration: Declaration

    def __post_init__(self) -> None:
        self.notes = Footnotes()
        self.study = self.results.frame.study
        self.arms = self.results.frame.arms
        self.families: set[str] = set()
        self.absent: dict[str, list[str]] = {}  # why -> what no arm has

    def build(self) -> Table | None:
        makers: dict[str, Callable[[Mapping[str, Any]], Made]] = {
            "axes": self._axes,
            "ledger": self._ledger,
            "tokens": self._tokens,
            "score": self._score,
            "slices": self._slices,
            "equal_flops": self._equal_flops,
            "control": self._control,
            "gap": self._gap,
            "metric": self._metric,
            "rest": self._rest,
        }
        made: Made = []
        for declared in self.declaration.columns:
            source = next(s for s in makers if s in declared)
            found = makers[source](declared)
            if not found:
                self._note_absent(str(declared[source]))
            made += found
        if not any(column.kind != "axis" for column, _ in made) and self.declaration.name != "main":
            return None
        columns = [Column("arm", "Arm", kind="text"), *(column for column, _ in made)]
        rows = []
        for arm in self.arms:
            cells = {"arm": self._arm(arm), **{column.key: cells[arm] for column, cells in made}}
            rows.append(Row(arm, cells, "default" if arm == self.study.default else "arm"))
        title = self.declaration.title
        return Table(
            self.declaration.name,
            title,
            self._caption(columns, rows),
            tuple(columns),
            tuple(rows),
            self.notes.listed(),
            self.study.headline,
            self._footer(columns),
        )

    def _note_absent(self, label: str) -> None:
        """Remember why a declared column is left out, where every finished run says so."""
        name = label.partition("@")[0]
        if self.study.until and name.split("/")[0] not in {m.benchmark for m in self.results.scores.primary}:
            return  # such a study never asks for it
        arms = [arm for arm in self.arms if self.results.frame.done(arm)]
        reasons = list(dict.fromkeys(self.results.frame.why_skipped(arm, name) for arm in arms))
        if reasons and all(reasons):
            self.absent.setdefault("; ".join(reasons), []).append(label)

    def _footer(self, columns: list[Column]) -> tuple[str, ...]:
        """By which rule each benchmark of the table was evaluated, and which of its columns no arm has."""
        labels = [column.key.split(".", 1)[-1] for column in columns if "/" in column.key]
        shown = dict.fromkeys(label.split("/")[0] for label in labels)
        lines = [self.results.frame.fingerprints.line(benchmark) for benchmark in shown]
        for why, names in self.absent.items():
            lines.append(f"In no arm: {', '.join(dict.fromkeys(names))}. {_sentence(why)}")
        return tuple(line for line in lines if line)

    def _caption(self, columns: list[Column], rows: list[Row]) -> str:
        seeds = {len(self.results.frame.done(arm)) for arm in self.arms} - {0}
        many = f"{max(seeds)} seeds" if max(seeds, default=0) > 1 else "one seed"
        if len(seeds) > 1:
            many = f"{min(seeds)} to {max(seeds)} seeds"
        parts = [f"{self.declaration.title}. Mean over {many}"]
        cells = [cell for row in rows for cell in row.cells.values()]
        if any(cell.spread is not None for cell in cells):
            parts[0] += ", ± SD between seeds"
        parts[0] += "."
        if any(cell.delta is not None and cell.delta.known for cell in cells):
            family = len(self.study.family)
            covers = "seeds and examples" if max(seeds, default=0) > 1 else "examples only"
            parts.append(f"Δ: difference to the default (grey row) with its 95 % interval over {covers}, paired;")
            exploratory, holm = "Benjamini-Hochberg (exploratory)", f"Holm over {family} arms"
            mixed = f"{holm}, in parts and slices after {exploratory}"
            corrected = mixed if len(self.families) > 1 else exploratory if "exploratory" in self.families else holm
            parts.append(f"coloured where significant after {corrected}.")
        if any(column.better for column in columns):
            parts.append("Best bold, second underlined.")
        if any(c.scale == 100 for c in columns):
            cider = any(c.scale == 100 and "CIDEr" in c.key for c in columns)
            parts.append("Accuracies and CIDEr × 100." if cider else "Accuracies and shares × 100.")
        return " ".join(parts)

    def _arm(self, arm: str) -> Cell:
        done, planned = len(self.results.frame.done(arm)), len(self.results.frame.seeds)
        texts = []
        if done != planned:
            texts.append(f"{arm}: {'no finished run' if not done else f'{done} of {planned} seeds finished'}.")
        moved = (self.study.extra.get("notes") or {}).get(arm)
        if moved:
            texts.append(str(moved))
        return Cell(text=arm, notes=tuple(self.notes.letter(text) for text in texts))

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
                cells[arm] = _mean(per_seed)
            else:
                cells[arm] = replace(DASH, notes=(self.notes.letter(absent),) if absent else ())
        ordered = ranked(column, [cells[arm] for arm in self.arms])
        return [(column, dict(zip(self.arms, ordered, strict=True)))]

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
                made[0][1][arm] = replace(cell, notes=(self.notes.letter(_sentence(why)),))
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
            cell = _mean(per_seed)
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
        ordered = ranked(column, [cells[arm] for arm in self.arms])
        return [(column, dict(zip(self.arms, ordered, strict=True)))]

    def _why_absent(self, arm: str, measure: Measure, declared: Mapping[str, Any]) -> tuple[str, ...]:
        if not self.results.frame.done(arm):
            return ()
        if why := self.results.frame.why_skipped(arm, f"{measure.benchmark}/{measure.name}"):
            return (self.notes.letter(_sentence(why)),)
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
        return self._plain(column, values)

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
            arm: Cell(mean=gaps[arm].contrast.estimate, interval=gaps[arm].contrast, called=gaps[arm].clear)
            if arm in gaps and math.isfinite(gaps[arm].contrast.estimate)
            else DASH
            for arm in self.arms
        }
        return [(column, cells)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _mean(per_seed: dict[int, float]) -> Cell:
    values = list(per_seed.values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Cell(mean=float(np.mean(values)), spread=spread, seeds=tuple(sorted(per_seed.items())))


def _with_unit(column: Column, declared: Mapping[str, Any], values: dict[str, dict[int, float]]) -> Column:
    if declared.get("unit") != "si":
        return column
    factor, suffix = common_unit([average(v) for v in values.values()])
    label = f"{column.label} ({suffix})" if suffix else column.label
    return replace(column, scale=factor, label=label, decimals=column.decimals if suffix else 0)


def mismatches(
    results: Results, match: Mapping[str, Any], values: dict[str, dict[int, float]] | None = None
) -> dict[str, str]:
    """Arm -> words, where a metric is too far from the default's for levels that should agree."""
    study = results.frame.study
    axis, levels = str(match.get("axis")), [str(level) for level in match.get("levels") or []]
    if axis not in study.axes or study.arms[study.default].get(axis) not in levels:
        return {}
    if values is None:
        rows = results.frame.metrics[results.frame.metrics["name"] == match.get("metric")]
        values = {str(a): dict(zip(g["seed"], g["value"], strict=True)) for a, g in rows.groupby("arm")}
    base = average(values.get(study.default, {}))
    found = {}
    for arm in study.others:
        mine = average(values.get(arm, {}))
        if study.arms[arm].get(axis) in levels and math.isfinite(mine) and base and math.isfinite(base):
            off = mine / base - 1
            if abs(off) > float(match.get("within", 0.1)):
                apart = f"{off:+.0%}".replace("-", "−")
                found[arm] = (
                    f"{arm} keeps {mine:.1f} tokens on average, {study.default} {base:.1f}: {apart}, more than "
                    f"{float(match.get('within', 0.1)):.0%} apart, so tokens are not matched."
                )
    return found
