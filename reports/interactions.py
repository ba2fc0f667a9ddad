"""Two-way interactions: does the effect of one axis depend on the level of another?

The interaction of level a of axis X with level b of axis Y, against their first levels a0 and b0, is the difference
of differences (a,b) - (a0,b) - (a,b0) + (a0,b0), averaged over the matched quadruples: four arms that are equal on
every other axis. It is in the measure's own units: by how much Y=b changes what X=a does (twice the "interaction
effect" of textbooks that halve it, e.g. Montgomery, Design and Analysis of Experiments, 6.2).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from reports.cube import Cube
from reports.study import Study


@dataclass(frozen=True)
class Interaction:
    """Two levels whose joint effect is asked for, and the arms that tell it.

    Attributes:
        axes: the two axes, in the study's order.
        levels: the level of each.
        against: the first level of each.
        quadruples: arms at (levels), (first, second's level), (first's level, second), (against).
    """

    axes: tuple[str, str]
    levels: tuple[str, str]
    against: tuple[str, str]
    quadruples: tuple[tuple[str, str, str, str], ...]

    @property
    def weights(self) -> dict[str, float]:
        """The contrast's weight of each arm."""
        found: dict[str, float] = {}
        for both, second, first, neither in self.quadruples:
            for arm, sign in ((both, 1.0), (second, -1.0), (first, -1.0), (neither, 1.0)):
                found[arm] = found.get(arm, 0.0) + sign / len(self.quadruples)
        return found


def interactions(study: Study, cube: Cube) -> list[Interaction]:
    """Every two-way interaction that the arms of a study with scores in ``cube`` can tell.

    Nothing is made up for the others: an interaction with no matched quadruple (a void among the four, or a design that
    leaves one out) is not in the list.
    """
    arms = [arm for arm in study.arms if arm not in study.also and cube.run_means(arm)]
    by_levels: dict[tuple[str | None, ...], str] = {}
    for arm in arms:
        by_levels.setdefault(tuple(study.level(arm, axis) for axis in study.axes), arm)
    found = []
    for (i, first), (j, second) in itertools.combinations(enumerate(study.axes), 2):
        for a, b in itertools.product(study.axes[first][1:], study.axes[second][1:]):
            against = (study.axes[first][0], study.axes[second][0])
            quadruples = []
            for levels, arm in by_levels.items():
                if levels[i] != a or levels[j] != b:
                    continue
                corners = [_moved(levels, {i: against[0]}), _moved(levels, {j: against[1]})]
                corners.append(_moved(levels, {i: against[0], j: against[1]}))
                others = [by_levels.get(corner) for corner in corners]
                if None not in others:
                    quadruples.append((arm, *(str(other) for other in others)))
            if quadruples:
                found.append(Interaction((first, second), (a, b), against, tuple(quadruples)))  # type: ignore[arg-type]
    return found


def _moved(levels: tuple[str | None, ...], changes: dict[int, str]) -> tuple[str | None, ...]:
    return tuple(changes.get(place, level) for place, level in enumerate(levels))
