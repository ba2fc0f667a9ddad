"""What findings are made of: a card, and numbers as they are shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from reports.contrast import Contrast
from reports.declare import Display
from reports.effects import Effect
from reports.measure import Measure
from reports.render.numbers import interval, number
from reports.table import Column


@dataclass(frozen=True)
class Finding:
    """One card of the report.

    tone: `good`, `bad`, `mixed` or `none`, of the verdict. `sentence` stands on its own; `lines` are details.
    """

    title: str
    verdict: str
    tone: str
    sentence: str
    value: str = ""
    around: str = ""
    lines: tuple[str, ...] = ()
    change: str = ""


@dataclass
class Shown:
    """A measure as it is shown: with its name, factor and decimals."""

    measure: Measure
    display: Display
    column: Column = field(init=False)

    def __post_init__(self) -> None:
        self.column = Column("", "", scale=self.display.scale, decimals=self.display.decimals)

    def number(self, value: float, signed: bool = False) -> str:
        return number(self.column, value, signed)

    def interval(self, found: Contrast, sign: int = 1) -> str:
        ends = (found.low, found.high) if sign > 0 else (-found.high, -found.low)
        return interval(self.column, *ends)

    def ends(self, low: float, high: float) -> str:
        return interval(self.column, low, high)


def format_p(p: float) -> str:
    """A p value in words: `0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def alone(c: Contrast) -> str:
    """Said where an interval excludes zero and the corrected test does not: both are right, of different questions."""
    if c.low <= 0 <= c.high or not c.family_size > 1:
        return ""
    return f", clear of zero alone but not among {c.family_size} comparisons (adjusted p {format_p(c.p_adjusted)})"


def arms_of(effect: Effect) -> tuple[list[str], list[str]]:
    """The arms on either side of a comparison: those at the level, and those that it is compared with."""
    if effect.kind == "arm":
        return [effect.subject], [effect.against]
    if any(effect.fitted):
        return list(effect.fitted[0]), list(effect.fitted[1])
    return [arm for arm, _ in effect.pairs], [other for _, other in effect.pairs]
