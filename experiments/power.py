"""What a plan can detect, said before anything is paid for.

A contrast with weights w over A arms and S seeds, tested with the seed variance pooled over all arms, has the
standard error SD * sqrt(sum w^2 / S) and (A - 1)(S - 1) degrees of freedom (seeds are blocks). Its smallest
detectable effect is the one whose noncentral t exceeds the two-sided critical value with the wanted power.
Holm's first and strictest level is alpha / (number of comparisons in the family). Only the seeds' share is
counted: a finite test set adds to it.

The noncentral t is integrated here, P(T <= t) = E[Phi(t U - delta)] with U^2 ~ chi^2(df)/df, because scipy
takes longer to import than the whole plan takes to make; a test holds it against scipy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from experiments.design import Design, matched_pairs
from experiments.study import Study

ALPHA = 0.05
POWER = 0.8
_STEPS = 600  # of the integration: even (ten times as many where one or two degrees of freedom make long tails)


@dataclass(frozen=True)
class Detectable:
    """The smallest effect that one kind of comparison can see; effects are in between-seed SDs."""

    what: str  # "one arm vs default" | "main effect of llm (frozen - unfrozen)"
    kind: str  # arm | main
    pairs: int  # pairs of arms that are averaged; 0 where a model fitted to all arms makes it
    df: int
    comparisons: int  # size of the family that Holm corrects over
    holm: float | None  # at Holm's strictest level; None where one seed leaves no degree of freedom
    uncorrected: float | None

    def in_units(self, sd_seed: float | None) -> tuple[float, float] | None:
        """(Holm, uncorrected) in the metric's own units, given the between-seed SD of a pilot."""
        if sd_seed is None or self.holm is None or self.uncorrected is None:
            return None
        return self.holm * sd_seed, self.uncorrected * sd_seed


@dataclass(frozen=True)
class MainEffect:
    """A level against its axis's default, as the report will estimate it."""

    axis: str
    high: str
    low: str
    pairs: int  # matched pairs that it averages; 0 where least squares over all arms of a fraction make it
    squared: float  # sum of its squared weights over the arms

    @property
    def what(self) -> str:
        """`llm: frozen vs unfrozen`."""
        return f"{self.axis}: {self.high} vs {self.low}"


def main_effects(study: Study, design: Design) -> list[MainEffect]:
    """The main effects that a design estimates: over matched pairs, or by the model of a fraction."""
    effects = []
    levels = [arm.cell for arm in design.arms if not arm.also]  # one that differs by more than levels fits no model
    axes = {axis.name: list(axis.levels) for axis in study.axes.values()}
    for axis in study.axes.values():
        low = study.default[axis.name]
        for high in (level for level in axis.levels if level != low):
            if design.model:
                from experiments.designs.model import main_weights

                weights = main_weights(axes, levels, design.model, axis.name, high, low)
                if weights is not None:
                    effects.append(MainEffect(axis.name, high, low, 0, sum(w * w for w in weights)))
            elif pairs := len(matched_pairs(design.arms, axis.name, low, high)):
                effects.append(MainEffect(axis.name, high, low, pairs, 2.0 / pairs))
    return effects


def detectable_effects(study: Study, design: Design) -> list[Detectable]:
    """What a design can detect: one arm against the default, then each axis's main effect.

    The two are families of their own, as in the report: the declared one (or all arms but the default), and the main
    effects. In a cumulative design the main effects are its steps.
    """
    arms, seeds = len(design.arms), len(study.seeds)
    if arms < 2:
        return []
    family = len(study.family) if study.family is not None else arms - 1
    effects = main_effects(study, design)
    out = [_detectable("one arm vs default", "arm", 1, 2.0, arms, seeds, family)]
    for effect in effects:
        what = f"step, {effect.what}" if design.steps else effect.what
        out.append(_detectable(what, "main", effect.pairs, effect.squared, arms, seeds, len(effects)))
    return out


def regular_effects(study: Study, arms: int) -> list[Detectable]:
    """What a regular fraction of so many arms detects, its arms not yet known: half of them are at either level."""
    seeds = len(study.seeds)
    effects = [
        f"{axis.name}: {high} vs {study.default[axis.name]}"
        for axis in study.axes.values()
        for high in axis.levels
        if high != study.default[axis.name]
    ]
    out = [_detectable("one arm vs default", "arm", 1, 2.0, arms, seeds, arms - 1)]
    return out + [_detectable(what, "main", 0, 4.0 / arms, arms, seeds, len(effects)) for what in effects]


def _detectable(
    what: str, kind: str, pairs: int, squared: float, arms: int, seeds: int, comparisons: int
) -> Detectable:
    df = (arms - 1) * (seeds - 1)
    holm = smallest_effect(squared, arms, seeds, ALPHA / comparisons)
    return Detectable(what, kind, pairs, df, comparisons, holm, smallest_effect(squared, arms, seeds, ALPHA))


def smallest_effect(
    squared_weights: float, arms: int, seeds: int, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the smallest effect, in between-seed SDs, that is found with the given power; None with one
    seed.

    Args:
        squared_weights: sum of the contrast's squared weights (2 for a pair of arms, 2/n for the mean of n
            pairs).
        arms: number of arms whose seed variance is pooled.
        seeds: number of seeds.
        alpha: two-sided level of the test.
        power: the wanted probability of finding it.
    """
    df = (arms - 1) * (seeds - 1)
    if df < 1:
        return None
    return _noncentrality(df, alpha, power) * math.sqrt(squared_weights / seeds)


def t_cdf(t: float, df: int, delta: float = 0.0) -> float:
    """Distribution function of the noncentral t (Simpson's rule over the chi density of U)."""
    top = 1.0 + 10.0 / math.sqrt(df)
    log_scale = math.log(2.0) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)
    steps = _STEPS if df > 2 else 10 * _STEPS
    width = top / steps
    total = 0.0
    for i in range(steps + 1):
        u = i * width
        if u == 0.0:
            density = math.exp(log_scale) if df == 1 else 0.0
        else:
            density = math.exp(log_scale + (df - 1) * math.log(u) - df * u * u / 2)
        weight = 1 if i in (0, steps) else 4 if i % 2 else 2
        total += weight * density * 0.5 * math.erfc((delta - t * u) / math.sqrt(2))
    return total * width / 3


@cache
def t_critical(df: int, alpha: float) -> float:
    """Two-sided critical value of Student's t."""
    return _solve(lambda t: t_cdf(t, df) - (1 - alpha / 2))


@cache
def _noncentrality(df: int, alpha: float, power: float) -> float:
    critical = t_critical(df, alpha)
    return _solve(lambda delta: 1 - t_cdf(critical, df, delta) + t_cdf(-critical, df, delta) - power)


def _solve(increasing, low: float = 0.0, high: float = 1.0) -> float:  # type: ignore[no-untyped-def]
    """The root of an increasing function, by bisection after doubling the upper end."""
    while increasing(high) < 0:
        low, high = high, 2 * high
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        if increasing(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
