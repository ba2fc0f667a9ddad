"""Columns of scores: with their spread over seeds, their difference to the default, and the best of them marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reports.best import best_group, seeds_cube
from reports.budget import average, cost
from reports.declare import Declaration, decimals
from reports.measure import Cube, Measure
from reports.results import Results
from reports.spread import Spread, outlying_arms, spread_of
from reports.table import Cell, Column, Footnotes, ranked

DASH = Cell(absent=True)
Made = list[tuple[Column, dict[str, Cell]]]


@dataclass
class ScoreColumns:
    """What every source of columns needs, and the sources that are scores.

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

    def _ranked(
        self, column: Column, cells: dict[str, Cell], cube: Cube | None, spread: Spread | None
    ) -> dict[str, Cell]:
        """The cells with the best of the column marked, by the table's rule."""
        group: set[int] = set()
        if column.better and cube is not None and self.declaration.bold == "best_group":
            weights = [{arm: 1.0} for arm in self.arms]
            group = best_group(cube, weights, column.better == "lower", spread or spread_of(cube))
            self.grouped = self.grouped or bool(group)
        return dict(zip(self.arms, ranked(column, [cells[arm] for arm in self.arms], group), strict=True))

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


def sentence(text: str) -> str:
    """Words as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def mean_cell(per_seed: dict[int, float], examples: int | None = None) -> Cell:
    """The mean over seeds with their SD."""
    values = list(per_seed.values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    mean = float(np.mean(values))
    return Cell(mean=mean, spread=spread, seeds=tuple(sorted(per_seed.items())), examples=examples)
