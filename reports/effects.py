"""What a comparison is, and all of a study's: arms against the default, main effects, interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reports.contrast import Contrast
from reports.cube import Measure


@dataclass(frozen=True)
class Effect:
    """A comparison with its meaning.

    kind: `arm` (an arm against the default), `main_effect` (a level against the axis's first, over matched
    pairs, or by the model of a fraction), `interaction` (how much one level changes what another does, over matched
    quadruples; `axis` and `subject` then name two, as `regime*llm` and `adapter*frozen`). family: `declared`,
    `main effects`, `interactions` (those that the study names) or `exploratory`. verdict:
    helps, hurts, interact, equivalent, no evidence, one seed, not estimable.
    """

    kind: str
    measure: Measure
    subject: str  # the arm, or the level
    against: str  # the default arm, or the axis's first level
    contrast: Contrast
    axis: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    quadruples: tuple[tuple[str, str, str, str], ...] = ()
    fitted: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # arms at either level, where least squares weigh all
    family: str = "declared"
    verdict: str = "not estimable"
    unequal: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict, compare=False)  # arm -> its weight in the contrast

    @property
    def label(self) -> str:
        """`llm=frozen`, of an arm and of a level alike."""
        return self.subject if self.kind == "arm" else f"{self.axis}={self.subject}"

    @property
    def name(self) -> str:
        """`llm=frozen`, or `tokens: pooled instead of dynamic` for a main effect."""
        if self.kind == "interaction":
            pairs = zip(str(self.axis).split("*"), self.subject.split("*"), strict=True)
            return " with ".join(f"{axis}={level}" for axis, level in pairs)
        return self.subject if self.kind == "arm" else f"{self.axis}: {self.subject} instead of {self.against}"


@dataclass
class Effects:
    """Every comparison of a study.

    `unequal` maps a measure to the arms whose seeds vary unlike the others', with the ratio of the spreads.
    """

    effects: list[Effect]
    unequal: dict[Measure, dict[str, float]]
    by_axis: bool  # whether findings are about axes: a factorial design, a fraction, or the steps of a cumulative one
    basis: str = ""  # how a main effect is made, in words

    def arm(self, measure: Measure, arm: str) -> Effect | None:
        """The comparison of an arm with the default."""
        return self._arms.get((measure, arm))

    @cached_property
    def _arms(self) -> dict[tuple[Measure, str], Effect]:
        """By measure and arm; reversed, for of two the first counts."""
        return {(e.measure, e.subject): e for e in reversed(self.effects) if e.kind == "arm"}

    def main(self, measure: Measure) -> list[Effect]:
        """The main effects on a measure, in the order of the axes."""
        return [e for e in self.effects if e.kind == "main_effect" and e.measure == measure]

    def interactions(self, measure: Measure) -> list[Effect]:
        """The two-way interactions on a measure, in the order of the axes."""
        return [e for e in self.effects if e.kind == "interaction" and e.measure == measure]

    def shown(self, measure: Measure) -> list[Effect]:
        """What a finding is about: main effects in a factorial design, else arms against the default."""
        if self.by_axis:
            return self.main(measure)
        return [e for e in self.effects if e.kind == "arm" and e.measure == measure]
