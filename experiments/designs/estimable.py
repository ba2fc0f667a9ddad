"""What a design can estimate, what it cannot tell apart, and what is lost to voids: said before anything is paid for.

Main effects are estimated over matched pairs of arms that differ in one axis only, which assumes nothing; in a fraction
by least squares under the model that it names, which takes every other interaction to be nil.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.design import Design, crossed
from experiments.designs import model
from experiments.power import main_effects
from experiments.study import Study

_LARGEST = 400  # columns: above that the ranks take longer than the rest of the plan


@dataclass(frozen=True)
class Estimable:
    """What a design's arms allow, of the main effects and two-way interactions of its axes."""

    rank_main: tuple[int, int]  # rank and columns of the matrix of the main effects' model
    rank_two_way: tuple[int, int] | None  # the same with all two-way interactions; None where that is too large
    main: tuple[str, ...]  # `axis=level` against the axis's default
    main_lost: tuple[str, ...]
    two_way: tuple[str, ...]  # `axis*axis`
    two_way_lost: tuple[str, ...]
    chains: tuple[str, ...]  # what is one and the same column: "a = b*c"
    claimed: tuple[str, ...] = ()  # the terms that the study asks a fraction to estimate
    claimed_lost: tuple[str, ...] = ()  # those of them that its arms cannot


def estimable(study: Study, design: Design) -> Estimable | None:
    """What a design can estimate; None where its arms differ by more than levels, or no axis varies."""
    axes = {axis.name: list(axis.levels) for axis in study.axes.values()}
    varied = model.varied(axes)
    arms = [arm.cell for arm in design.arms if not arm.also]
    if not varied or len(arms) < 2 or (study.design == "arms" and len(arms) < len(design.arms)):
        return None
    found = {(effect.axis, effect.high) for effect in main_effects(study, design)}
    wanted = [(axis, level) for axis in varied for level in axes[axis] if level != study.default[axis]]
    pairs = model.two_way(axes)
    if design.model:
        lost = set(model.not_estimable(axes, arms, design.model))
        crossing = [pair for pair in pairs if pair in design.model and pair not in lost]
    else:
        lost = set()
        crossing = [pair for pair in pairs if crossed(design.arms, *pair.split("*"))]
    return Estimable(
        rank_main=_rank(axes, arms, varied),
        rank_two_way=_rank(axes, arms, [*varied, *pairs]) if model.size(axes, [*varied, *pairs]) <= _LARGEST else None,
        main=tuple(f"{axis}={level}" for axis, level in wanted if (axis, level) in found),
        main_lost=tuple(f"{axis}={level}" for axis, level in wanted if (axis, level) not in found),
        two_way=tuple(crossing),
        two_way_lost=tuple(pair for pair in pairs if pair not in crossing),
        chains=design.aliases or tuple(model.alias_chains(axes, arms)),
        claimed=design.model,
        claimed_lost=tuple(term for term in design.model if term in lost),
    )


def _rank(axes: model.Axes, arms: model.Rows, terms: Sequence[str]) -> tuple[int, int]:
    return model.rank(model.matrix(axes, arms, terms)[0]), model.size(axes, terms)


def low_order(chains: Sequence[str]) -> list[str]:
    """Alias chains cut to main effects and two-way interactions, those that keep two of them."""
    cut = ([term for term in chain.split(" = ") if term.count("*") < 2] for chain in chains)
    return [" = ".join(chain) for chain in cut if len(chain) > 1]
