"""Every score against its floor (wrong image, no image, text alone) or its ceiling (reconstruction), run by run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports.contrast import Contrast, contrast
from reports.measure import Cube, Measure, Scores

#: Controls that no arm can be expected to beat, and how each comes about.
CEILINGS = {
    "ceiling": "reconstruction by its tokenizer and pixel decoder",
    "undecoded": "the same read from true features",
    "untouched": "its text LLM before multimodal training",
}


@dataclass(frozen=True)
class Gap:
    """An arm's score less its own control. `clear`: the 95 % interval lies wholly above zero."""

    arm: str
    measure: Measure
    control: str
    score: float
    floor: float
    contrast: Contrast

    @property
    def clear(self) -> bool:
        """Whether the score is above its control with the interval clear of zero."""
        return self.contrast.known and self.contrast.low > 0


def control_gaps(scores: Scores, measure: Measure, control: str) -> list[Gap]:
    """Each arm's gap to a control of a measure; arms without either are left out.

    The interval is the unpooled one: a score and its control vary unlike each other, and a gap's own seeds
    say by how much. Where the control was run on other examples, seeds alone are used.
    """
    own = scores.cube(measure)
    gap, floor = scores.paired_gap(measure, control)
    if own is None or floor is None:
        return []
    found = []
    for arm in own.arms:
        mine, its = own.run_means(arm), floor.run_means(arm)
        shared = sorted(set(mine) & set(its))
        if not shared:
            continue
        if gap is not None:
            estimate = contrast(gap, {arm: 1.0}, pooled=False)
        else:
            column = np.full((1, len(shared), 1), 0.0)
            column[0, :, 0] = [mine[s] - its[s] for s in shared]
            estimate = contrast(Cube((arm,), tuple(shared), column, 1), {arm: 1.0}, pooled=False)
        score = float(np.mean([mine[s] for s in shared]))
        found.append(Gap(arm, measure, control, score, float(np.mean([its[s] for s in shared])), estimate))
    return found


def floors(scores: Scores) -> list[Gap]:
    """Every arm's gap to every floor of every benchmark."""
    return [
        gap
        for measure in scores.primary
        for control in scores.controls(measure)
        if control not in CEILINGS
        for gap in control_gaps(scores, measure, control)
    ]


def ceilings(scores: Scores) -> list[Gap]:
    """Every arm's gap to each of its ceilings (negative where the arm is the worse of the two)."""
    return [
        gap
        for measure in scores.primary
        for control in scores.controls(measure)
        if control in CEILINGS
        for gap in control_gaps(scores, measure, control)
    ]


def share(gap: Gap) -> float:
    """Score as a part of its ceiling; NaN where the ceiling is 0."""
    return gap.score / gap.floor if gap.floor else math.nan
