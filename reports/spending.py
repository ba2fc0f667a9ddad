"""What a comparison costs, and what it comes to at equal budgets, in words."""

from __future__ import annotations

import math

from reports.budget import average, cost, own_stages
from reports.effects import Effect
from reports.results import Results
from reports.table import common_unit
from reports.wording import Shown, arms_of


def _ratio(results: Results, effect: Effect, values: dict[str, dict[int, float]]) -> float:
    mine, other = arms_of(effect)
    over = average(dict(enumerate(average(values.get(a, {})) for a in mine)))
    under = average(dict(enumerate(average(values.get(a, {})) for a in other)))
    return over / under if under else math.nan


def _costs(results: Results, effect: Effect) -> dict[str, float]:
    """What changes of the cost: its name -> ratio to the other side."""
    stages = own_stages(results.frame)
    ratios = {"training FLOPs": _ratio(results, effect, cost(results.frame, "flops", stages))}
    headline = results.headline
    cube = results.scores.tokens(headline) if headline else None
    if cube is not None:
        ratios["visual tokens"] = _ratio(results, effect, {arm: cube.run_means(arm) for arm in cube.arms})
    trainable = cost(results.frame, "params_trainable", stages, "max")
    ratios["trainable parameters"] = _ratio(results, effect, trainable)
    return {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}


def saving(results: Results, effect: Effect) -> float:
    """The larger saving in FLOPs or visual tokens, as a share; 0 where either costs more."""
    ratios = [r for n, r in _costs(results, effect).items() if n != "trainable parameters"]
    return 1 - min(ratios) if ratios and max(ratios) < 1.02 else 0.0


def cost_line(results: Results, effect: Effect) -> str:
    """What of the cost changes with an effect, in a sentence; "" where no cost was recorded."""
    ratios = _costs(results, effect)
    if not ratios:
        return ""
    changed = [f"{name} {ratio - 1:+.0%}".replace("-", "−") for name, ratio in ratios.items() if abs(ratio - 1) > 0.005]
    return "Cost: " + (", ".join(changed) if changed else "the same") + "."


def equal_flops_line(results: Results, shown: Shown, effect: Effect) -> str:
    """The effect at equal training FLOPs, in a sentence; "" where a curve does not reach them."""
    budget, values = results.equal_flops
    mine, other = arms_of(effect)
    if not all(values.get(arm) for arm in (*mine, *other)):
        return ""
    found = results.at_equal_flops(effect.weights)
    factor, suffix = common_unit([budget])
    number = f"{shown.number(found.estimate, True)} ‡" + (f" {shown.interval(found)}" if found.known else "")
    over = " over seeds alone" if found.known else ""
    return f"At equal FLOPs ({budget * factor:.2f} {suffix}): {number}, from the validation curve{over}."


def matched_line(results: Results, shown: Shown, effect: Effect) -> str:
    """The same comparison at the smaller of the two budgets, where the study asks for it."""
    found = next((m for m in results.matched if effect.kind == "arm" and m.effect.subject == effect.subject), None)
    if found is None or not math.isfinite(found.effect.contrast.estimate):
        return ""
    c = found.effect.contrast
    factor, suffix = common_unit([found.budget])
    number = shown.number(c.estimate, True) + (" ‡" if found.interpolated else "")
    number += f" {shown.interval(c)}" if c.known else f" ({c.reason})"
    how = f"{found.on_the_way} cooled down where its trunk had cost that"
    if found.interpolated:
        how = f"{found.on_the_way} read on the way from its validation curve"
    return (
        f"With {found.by.replace('_', ' ')} matched to {found.effect.against} at {found.budget * factor:.2f} {suffix} "
        f"(its own are {found.ratio:.2f} times those): {number}, {how}; exploratory."
    )
