"""Other designs for the same question, priced and weighed: what a plan suggests, and what a budget chooses from.

An offer is weighed by the effect from which on it detects every main effect of the axes (the worst of them, 80 % power,
Holm's strictest level over the main effects); where a design has no main effects, one arm against the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.axes import write_override
from experiments.design import expand, full_size
from experiments.designs.fraction import is_regular, needed_arms, valid_arms
from experiments.errors import LavitError
from experiments.power import Detectable, detectable_effects, regular_effects
from experiments.study import Study

if TYPE_CHECKING:
    from experiments.plan import Plan

Price = Callable[[Study], "Plan"]  # assembles a study without counting parameters

MOST_ARMS = 64  # of a full design that is offered: above that, comparing designs costs more than the plan itself
MOST_CANDIDATES = 256  # valid arms that a fraction is looked for among
SIMILAR = 1.3  # a cheaper design is worth naming while it detects effects at most this many times as large


@dataclass(frozen=True)
class Offer:
    """The same question under another design or with other seeds."""

    design: str  # as a study file writes it
    seeds: int
    arms: int
    runs: int
    jobs: int | None  # distinct stages; None where it was not priced
    seconds_left: float | None  # on one core, shared stages once, finished ones not at all
    effects: tuple[Detectable, ...]
    lost: tuple[str, ...] = ()  # main effects that it does not estimate
    overrides: tuple[str, ...] = ()  # what to add to the command line

    @property
    def worst(self) -> float | None:
        """The effect, in seed SDs, from which on every main effect is detected; None where nothing is."""
        return worst(self.effects)


def worst(effects: tuple[Detectable, ...] | list[Detectable]) -> float | None:
    """The largest of the smallest detectable main effects (of one arm against the default where there are none)."""
    kind = "main" if any(effect.kind == "main" for effect in effects) else "arm"
    found = [effect.holm for effect in effects if effect.kind == kind]
    return None if not found or None in found else max(value for value in found if value is not None)


def alternatives(study: Study, plan: Plan, price: Price) -> list[Offer]:
    """At most two other designs over the same axes: a cheaper or a stronger one."""
    varied = [axis for axis in study.axes.values() if len(axis.levels) > 1]
    if len(varied) < 2 or study.design == "arms" or study.match is not None:  # matching has to price every arm
        return []
    size = full_size(study)
    found: list[Offer] = []
    rivals = ["one_at_a_time"] if study.design == "full" else ["full"] if size <= MOST_ARMS else []
    for name in rivals:
        try:
            found.append(offer(with_design(study, name), study, price))
        except LavitError as error:
            plan.remarks.append(f"design: {name} would be refused: {error.message}")
    if size <= MOST_CANDIDATES and study.design != "fraction":
        found += _fraction(study, plan, price)
    return found[:2]


def _fraction(study: Study, plan: Plan, price: Price) -> list[Offer]:
    """Of a full design the smallest fraction that sees nearly as much; of any other, one of the same size."""
    own = worst(plan.effects)
    valid = valid_arms(study)
    needed = needed_arms(study, valid)
    if own is None or len(valid) <= needed or plan.records_stage is None:
        return []
    same = max(needed, len(plan.design.arms))
    sizes = fraction_sizes(needed, len(valid)) if study.design == "full" else [same] if same < len(valid) else []
    for arms in sizes:
        other = with_design(study, "fraction", arms)
        try:
            known = is_regular(study, len(valid), arms) and not study.arms  # without its arms, which load a library
            made = _unpriced(other, arms) if known else offer(other, study, price, priced=False)
            limit = own * SIMILAR if study.design == "full" else own
            if made.worst is None or made.lost or made.worst > limit:
                continue
            return [made if known else offer(other, study, price)]
        except LavitError:  # it comes out as twins of each other, or stops before what tells its arms apart
            return []
    return []


def fraction_sizes(needed: int, valid: int) -> list[int]:
    """Numbers of arms worth trying, smallest first: what the model needs, powers of two, and parts of the whole."""
    powers = [2**k for k in range(2, 12)]
    sizes = {needed, needed + 1, needed * 3 // 2, needed * 2, valid // 2, valid * 3 // 4, *powers}
    return sorted(size for size in sizes if needed <= size < valid)


def with_design(study: Study, design: str, arms: int | None = None) -> Study:
    """The study under another design; a fraction is for main effects. A family whose arms it lacks is dropped."""
    options: dict[str, Any] = {}
    if design == "fraction":
        options = {"arms": arms, "terms": [axis.name for axis in study.axes.values() if len(axis.levels) > 1]}
    other = replace(study, design=design, design_options=options, family=None)
    if study.family is not None and set(study.family) <= {arm.name for arm in expand(other).arms[1:]}:
        other = replace(other, family=study.family)
    return other


def offer(other: Study, study: Study, price: Price, priced: bool = True) -> Offer:
    """Weigh (and price) a study that asks what `study` asks by another design or with other seeds."""
    plan = price(other) if priced else None
    design = plan.design if plan is not None else expand(other)
    effects = tuple(detectable_effects(other, design))
    whole = {f"{a.name}: {v} vs {other.default[a.name]}" for a in other.axes.values() for v in a.levels}
    found = {effect.what.removeprefix("step, ") for effect in effects if effect.kind == "main"}
    wanted = {what for what in whole if what.split(": ")[1].split(" vs ")[0] != what.split(" vs ")[1]}
    lost = () if other.design == "arms" else tuple(sorted(wanted - found))
    return Offer(
        written(other),
        len(other.seeds),
        len(design.arms),
        len(design.arms) * len(other.seeds),
        len(plan.jobs) if plan is not None else None,
        plan.seconds(left=True) if plan is not None else None,
        effects,
        lost,
        changes(other, study),
    )


def _unpriced(other: Study, arms: int) -> Offer:
    effects = tuple(regular_effects(other, arms))
    return Offer(written(other), len(other.seeds), arms, arms * len(other.seeds), None, None, effects)


def written(study: Study) -> str:
    """A study's design as its file writes it: `full`, `{fraction: 8, estimate: [main, llm*tokens]}`."""
    value = design_value(study)
    if isinstance(value, str):
        return value
    parts = (f"{key}: [{', '.join(v)}]" if isinstance(v, list) else f"{key}: {v}" for key, v in value.items())
    return "{" + ", ".join(parts).replace("'", "") + "}"


def design_value(study: Study) -> str | dict[str, Any]:
    """What stands behind `design:` in a file that means this design."""
    options = study.design_options
    if study.design == "fraction":
        crossed = [term for term in options["terms"] if "*" in term]
        estimate = {"estimate": ["main", *crossed]} if crossed else {}
        return {"fraction": options["arms"], **estimate}
    if study.design == "cumulative" and "order" in options:
        return {"cumulative": list(options["order"])}
    if study.design == "leave_one_out" and options.get("off"):
        return {"leave_one_out": dict(options["off"])}
    return study.design


def changes(other: Study, study: Study) -> tuple[str, ...]:
    """The overrides that turn a study into another design of it."""
    found = []
    if design_value(other) != design_value(study):
        found.append(write_override("study.design", design_value(other)))
    if other.seeds != study.seeds:
        count = len(other.seeds)
        plain = other.seeds == tuple(range(count))
        found.append(write_override("study.seeds", count if plain else list(other.seeds)))
    if other.family != study.family:
        found.append("study.family=null")
    return tuple(found)
