"""A table of panels: one small table for each axis of the study, one row a level, the finding in its title."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reports.best import best_group
from reports.captions import BEST, BEST_GROUP, means_over, scaled
from reports.declare import Declaration
from reports.levels import Level, finding, levels_of
from reports.measure import Cube, Measure
from reports.results import Results
from reports.score_columns import DASH, mean_cell
from reports.spread import Spread, outlying_arms
from reports.table import Cell, Column, Footnotes, Row, Table, ranked


def build_panels(results: Results, declaration: Declaration) -> Table | None:
    """A panel for each axis with at least two levels that can be compared; None with fewer than two such axes."""
    headline = results.headline
    if headline is None:
        return None
    measures = _measures(results, declaration)
    maker = _PanelMaker(results, declaration, measures, Footnotes())
    panels = []
    for axis in results.frame.study.axes:
        levels = levels_of(results, headline, axis)
        if sum(bool(level.weights) for level in levels) > 1:
            panels.append(maker.panel(axis, levels))
    if len(panels) < 2:
        return None
    return Table(
        declaration.name,
        declaration.title,
        _caption(results, declaration, panels, maker.grouped, results.display(headline).name),
        (),
        (),
        maker.notes.listed(),
        results.frame.study.headline,
        panels=tuple(panels),
    )


def _measures(results: Results, declaration: Declaration) -> list[Measure]:
    """The first columns of the declaration that were measured, each once."""
    found: list[Measure] = []
    for declared in declaration.columns:
        measure = results.headline if "headline" in declared else results.scores.find(str(declared.get("score", "")))
        if measure is not None and measure not in found and results.scores.cube(measure) is not None:
            found.append(measure)
    return found[: declaration.most]


class _PanelMaker:
    def __init__(self, results: Results, declaration: Declaration, measures: list[Measure], notes: Footnotes):
        self.results = results
        self.declaration = declaration
        self.measures = measures
        self.notes = notes
        self.grouped = False

    def panel(self, axis: str, levels: list[Level]) -> Table:
        study = self.results.frame.study
        name = Column("level", axis, kind="text")
        columns = [name]
        cells: dict[str, dict[str, Cell]] = {level.name: {"level": Cell(text=level.name)} for level in levels}
        for measure in self.measures:
            column, made = self._column(measure, axis, levels)
            columns.append(column)
            for level, cell in zip(levels, made, strict=True):
                cells[level.name][column.key] = cell
        rows = [
            Row(level.name, cells[level.name], "default" if not place else "level", arms=level.arms)
            for place, level in enumerate(levels)
        ]
        title = f"{axis}: {finding(levels)}"
        return Table(f"{self.declaration.name}-{axis}", title, "", tuple(columns), tuple(rows), headline=study.headline)

    def _column(self, measure: Measure, axis: str, levels: list[Level]) -> tuple[Column, list[Cell]]:
        display, cube = self.results.display(measure), self.results.scores.cube(measure)
        column = Column(
            key=f"score.{measure.label}",
            label=display.name,
            better=display.better,
            scale=display.scale,
            decimals=display.decimals,
            compact=True,
        )
        own = {level.name: level for level in levels_of(self.results, measure, axis)}
        here = [own.get(level.name, Level(level.name, {})) for level in levels]
        assert cube is not None
        made = [self._cell(cube, level) for level in here]
        group: set[int] = set()
        if self.declaration.bold == "best_group":
            unequal = self.results.effects.unequal.get(measure, {})
            spread = Spread(unequal, outlying_arms(cube, unequal))
            group = best_group(cube, [level.weights for level in here], display.better == "lower", spread)
            self.grouped = self.grouped or bool(group)
        return column, ranked(column, made, group)

    def _cell(self, cube: Cube, level: Level) -> Cell:
        per_arm = [cube.run_means(arm) for arm in level.arms]
        shared = set.intersection(*(set(per_seed) for per_seed in per_arm)) if per_arm else set()
        if not shared:
            return DASH
        weights = list(level.weights.values())
        per_seed = {
            seed: float(np.dot(weights, [own[seed] for own in per_arm])) for seed in sorted(shared)
        }  # a level's mean in each replicate
        cell, effect = mean_cell(per_seed, cube.examples), level.effect
        if effect is None or not effect.contrast.known:
            return cell
        notes: tuple[str, ...] = ()
        if effect.unequal:
            text = f"Seeds of {' and '.join(effect.unequal)} spread unlike the other arms': own variance used."
            notes = (self.notes.letter(text),)
        return replace(cell, delta=effect.contrast, called=effect.contrast.significant, notes=notes)


def _caption(results: Results, declaration: Declaration, panels: list[Table], grouped: bool, headline: str) -> str:
    cells = [cell for panel in panels for row in panel.rows for cell in row.cells.values()]
    parts = [f"{declaration.title}. {means_over(results, cells)}"]
    if results.effects.by_axis:
        parts.append(f"A level is the mean of its arms, Δ to the first level (grey) {results.effects.basis};")
    else:
        parts.append("A level is the arm that differs from the default in this axis only, Δ to the default (grey);")
    parts[0] += f" Titles: the verdict on {headline}."
    family = "main effects" if results.effects.by_axis else "arms"
    parts.append(f"coloured where significant after Holm over the {family}. Intervals are in the table of effects.")
    parts.append(BEST_GROUP.format(row="level") if grouped else BEST)
    return " ".join([*parts, *scaled(panels[0].columns)])
