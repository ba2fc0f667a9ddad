"""Would another defensible analysis say the same? Every headline comparison under each, corrected alike.

The report's verdicts come from the seed variance pooled over arms. Beside it stand the arm's own seeds (`own seeds`:
seeds and examples, nothing pooled), the paired t test over seeds alone, the two-way bootstrap (an interval without a
corrected test) and, where scores are right or wrong, McNemar's test of each seed's two models. With two or three seeds
the first two are weak: a verdict that they do not repeat rests on arms having one spread, which the audit looks at.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from reports.contrast import Contrast, contrast
from reports.cube import Cube
from reports.discordance import Discordance, discordances
from reports.effects import Effect, Effects
from reports.measure import Scores
from reports.study import Study
from reports.verdicts import correct, judge

OWN, SEEDS, BOOTSTRAP = "own seeds", "seeds only", "two-way bootstrap"
POOLED = "pooled"


@dataclass(frozen=True)
class Reading:
    """A comparison under one analysis.

    name: `pooled`, `own seeds`, `seeds only` or `two-way bootstrap`. low, high: 95 %, unadjusted. p_adjusted: over the
    same family; NaN of the bootstrap. verdict: as the report's; of the bootstrap whether its interval is clear of zero.
    changed: whether it says otherwise than the report.
    """

    name: str
    low: float
    high: float
    p_adjusted: float
    verdict: str
    changed: bool


@dataclass(frozen=True)
class Sensitivity:
    """A headline comparison under every analysis, the report's own first."""

    effect: Effect
    readings: tuple[Reading, ...]
    mcnemar: tuple[Discordance, ...]

    def reading(self, name: str) -> Reading | None:
        """One analysis; None where it was not to be had."""
        return next((reading for reading in self.readings if reading.name == name), None)

    @property
    def changed(self) -> tuple[str, ...]:
        """The analyses that say otherwise than the report."""
        return tuple(reading.name for reading in self.readings if reading.changed)


def sensitivities(study: Study, scores: Scores, effects: Effects, lower: Collection[str] = ()) -> list[Sensitivity]:
    """Every shown comparison on the headline that has an interval over seeds; none with one seed."""
    headline = scores.headline
    cube = scores.cube(headline) if headline is not None else None
    if headline is None or cube is None:
        return []
    shown = [e for e in effects.shown(headline) if e.contrast.known and e.contrast.n_seeds > 1]
    over_seeds = Cube(cube.arms, cube.seeds, cube.means_AS[..., None], 0)
    others = {}
    for name, of in ((OWN, cube), (SEEDS, over_seeds)):
        others[name] = _again(study, shown, of, scores, lower)
    found = []
    for place, effect in enumerate(shown):
        readings = [_reading(POOLED if effect.contrast.pooled else OWN, effect, effect)]
        for name, again in others.items():
            if name != readings[0].name and again[place].contrast.known:
                readings.append(_reading(name, again[place], effect))
        if effect.contrast.replicates:
            readings.append(_bootstrap(effect.contrast))
        tests = discordances(cube, effect.subject, effect.against) if effect.kind == "arm" else []
        found.append(Sensitivity(effect, tuple(readings), tuple(tests)))
    return found


def _again(study: Study, shown: Sequence[Effect], cube: Cube, scores: Scores, lower: Collection[str]) -> list[Effect]:
    """The comparisons from their own seeds, corrected within the families that they are in."""
    made = [replace(e, contrast=contrast(cube, e.weights, pooled=False)) for e in shown]
    for family in dict.fromkeys(e.family for e in made):
        places = [i for i, e in enumerate(made) if e.family == family]
        told = correct([made[i] for i in places], "fdr_bh" if family == "exploratory" else "holm")
        for i, effect in zip(places, judge(told, study, scores.headline, lower), strict=True):
            made[i] = effect
    return made


def _reading(name: str, effect: Effect, reported: Effect) -> Reading:
    c = effect.contrast
    return Reading(name, c.low, c.high, c.p_adjusted, effect.verdict, effect.verdict != reported.verdict)


def _bootstrap(c: Contrast) -> Reading:
    """Compared with the report's unadjusted interval, since there is nothing to correct."""
    clear = not c.bootstrap_low <= 0 <= c.bootstrap_high
    words = "clear of zero" if clear else "not clear of zero"
    return Reading(BOOTSTRAP, c.bootstrap_low, c.bootstrap_high, math.nan, words, clear == (c.low <= 0 <= c.high))
