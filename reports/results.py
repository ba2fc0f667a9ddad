"""A study's results with their statistics computed once: what everything shown is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from reports.budget import at_equal_flops, equal_flops_cube
from reports.contrast import Contrast, contrast
from reports.controls import Gap, ceilings, floors
from reports.declare import Declaration, Display, read_declarations
from reports.effects import Effects
from reports.families import compute_effects
from reports.frame import Frame
from reports.matched import Matched, matched_effects
from reports.measure import Measure, Scores
from reports.sensitivity import Sensitivity, sensitivities
from reports.verdicts import correct, judge


@dataclass
class Results:
    """Frame, scores, comparisons and the declared tables of one study."""

    frame: Frame
    scores: Scores
    effects: Effects
    declarations: list[Declaration]  # of the tables that are for such a study
    lower: frozenset[str] = frozenset()  # `benchmark/name` of the measures of which less is better

    @cached_property
    def floors(self) -> list[Gap]:
        """Every arm's score against its shuffled-image, vision-off and text-prior controls."""
        return floors(self.scores)

    @cached_property
    def ceilings(self) -> list[Gap]:
        """Every arm's generation score against its reconstruction ceiling."""
        return ceilings(self.scores)

    @cached_property
    def equal_flops(self) -> tuple[float, dict[str, dict[int, float]]]:
        """(budget, arm -> seed -> headline at it), from the validation curve of the headline."""
        return at_equal_flops(self.frame, f"val/{self.frame.study.headline}")

    @cached_property
    def equal_flops_contrasts(self) -> dict[str, Contrast]:
        """Each arm less the default at equal FLOPs, over seeds; those alone that both curves reach."""
        cube = equal_flops_cube(self.frame, self.equal_flops[1])
        told = {arm: contrast(cube, {arm: 1.0, self.frame.study.default: -1.0}) for arm in self.frame.study.others}
        return {arm: found for arm, found in told.items() if np.isfinite(found.estimate)}

    def at_equal_flops(self, weights: Mapping[str, float]) -> Contrast:
        """A weighted difference of arms at equal FLOPs, over seeds."""
        return contrast(equal_flops_cube(self.frame, self.equal_flops[1]), weights)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """What the headline's comparisons come to under other analyses."""
        return sensitivities(self.frame.study, self.scores, self.effects, self.lower)

    @cached_property
    def matched(self) -> list[Matched]:
        """Each arm of another budget against the reference at the smaller of the two, where the study asks for it."""
        found = matched_effects(self.frame, self.headline)
        told = judge(correct([m.effect for m in found], "fdr_bh"), self.frame.study, None, self.lower)
        return [replace(m, effect=effect) for m, effect in zip(found, told, strict=True)]

    @cached_property
    def outcomes(self) -> list[Measure]:
        """The benchmarks that judge an arm: those of the headline and the main table, and those that no table names.

        Where none of these was run, all that was.
        """
        main = {self.frame.study.headline.split("/")[0]}
        main |= set().union(*(d.benchmarks() for d in self.declarations if d.name == "main"))
        others = set().union(*(d.benchmarks() for d in self.declarations if d.name != "main"))
        primary = self.scores.primary
        return [m for m in primary if m.benchmark in main or m.benchmark not in others] or list(primary)

    def display(self, measure: Measure) -> Display:
        """How a measure is shown: its name, factor and decimals, as a table declares them.

        A measure that no table declares is shown times 100 when all its scores lie within 0 and 1, as stored
        otherwise.
        """
        label = f"{measure.benchmark}/{measure.name}"
        for declaration in self.declarations:
            found = declaration.display(label)
            if found is not None:
                return found
        cube = self.scores.cube(measure)
        unit = cube is not None and _within_unit(cube.means_AS)
        name = measure.benchmark if measure.name == "score" else f"{measure.benchmark} {measure.name}"
        return Display(name, 100.0 if unit else 1.0, 1 if unit else 2)

    @property
    def headline(self) -> Measure | None:
        """The measure that the study is judged by."""
        return self.scores.headline


def _within_unit(means: object) -> bool:
    values = np.asarray(means)
    values = values[np.isfinite(values)]
    return bool(len(values)) and bool((values >= 0).all() and (values <= 1).all())


def analyse(frame: Frame, tables: Path | None = None) -> Results:
    """Compute every comparison of a study.

    Args:
        frame: the study's results.
        tables: folder of table declarations; by default the project's `conf/table`.
    """
    scores = Scores(frame)
    declarations = [d for d in read_declarations(tables) if d.applies(frame.study.until)]
    columns = [c for d in declarations for c in d.columns]
    sources = ("score", "metric")
    lower = {str(c[source]) for c in columns for source in sources if source in c and c.get("better") == "lower"}
    further = [str(column["metric"]) for column in columns if "metric" in column]
    effects = compute_effects(frame.study, scores, lower, further)
    return Results(frame, scores, effects, declarations, frozenset(lower))
