"""What a plan says about its design: what is estimable, aliased or void, what it detects, and what else there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.designs.estimable import Estimable, low_order
from experiments.power import Detectable
from experiments.render_text import LABEL, count, cut, duration, table, wrapped

if TYPE_CHECKING:
    from experiments.budget import Budget
    from experiments.offers import Offer
    from experiments.plan import Plan

_CHAINS = 6  # alias chains that are printed; all of them are in --json
_EFFECTS = 12
_CANDIDATES = 12


def design_lines(plan: Plan) -> list[str]:
    """How the arms were chosen, what they can estimate and detect, and the alternatives."""
    lines = wrapped("chosen", plan.design.method) if plan.design.method else []
    lines += _step_lines(plan)
    if plan.estimable is not None:
        lines += _estimable_lines(plan, plan.estimable)
    lines += _power_lines(plan)
    for other in plan.alternatives:
        lines += wrapped("instead", _offered(other, plan))
    return lines


def _step_lines(plan: Plan) -> list[str]:
    if not plan.design.steps:
        return []
    steps = plan.design.steps
    levels = {arm.name: arm.cell for arm in plan.design.arms}
    parts = [f"{steps[0][1]}"]
    for after, before in steps:
        default = levels[steps[-1][0]]
        added = [a for a, level in levels[after].items() if level != levels[before][a] and level == default[a]]
        parts.append(" ".join(f"+ {axis}" for axis in added))
    text = f"{'; '.join(parts)} = {steps[-1][0]}. Each arm is compared with the one before it (a main effect of the"
    return wrapped("steps", f"{text} report, given what was added before) as well as with the default")


def _estimable_lines(plan: Plan, found: Estimable) -> list[str]:
    text = f"{len(found.main)} of {len(found.main) + len(found.main_lost)} main effects"
    text += " by least squares, other interactions taken to be nil" if found.claimed else ""
    if found.main_lost:
        why = "" if found.claimed else ": no two arms differ in it alone"
        text += f" (not {', '.join(found.main_lost)}{why})"
    pairs = len(found.two_way) + len(found.two_way_lost)
    if pairs:
        text += f", {len(found.two_way)} of {pairs} two-way interactions"
        missing = [pair.replace("*", " x ") for pair in found.two_way_lost]
        if plan.study.design == "one_at_a_time" and len(missing) == pairs:
            text += " (one at a time crosses no two axes)"
        elif len(missing) == pairs:
            asked = any("*" in term for term in found.claimed)
            text += "" if asked else " (none is in the model)" if found.claimed else " (no two axes are crossed)"
        elif missing:
            reason = "not in the model" if found.claimed else "void" if plan.design.removed else "not crossed"
            named = [*missing[:_CHAINS], *([f"{len(missing) - _CHAINS} more"] if len(missing) > _CHAINS else [])]
            text += f" (not {', '.join(named)}: {reason})"
    text += f"; rank {found.rank_main[0]} of {found.rank_main[1]} (main effects)"
    text += f", {found.rank_two_way[0]} of {found.rank_two_way[1]} (with two-way)" if found.rank_two_way else ""
    lines = wrapped("estimable", text)
    if found.claimed_lost:
        lost = ", ".join(term.replace("*", " x ") for term in found.claimed_lost)
        lines += wrapped("lost", f"the design is asked to estimate {lost}, and no valid arms can: void")
    chains = low_order(found.chains)
    if chains:
        text = "; ".join(chain.replace("*", " x ") for chain in chains[:_CHAINS])
        text += f"; and {len(chains) - _CHAINS} more" if len(chains) > _CHAINS else ""
        lines += wrapped("aliased", f"{text} (one and the same column: only their sum is estimated)")
    return lines


def _power_lines(plan: Plan) -> list[str]:
    if not plan.effects or plan.records_stage is None:
        return []
    if plan.effects[0].holm is None:
        return wrapped("detects", "nothing over seeds: with one seed there is no interval over training runs")
    unit = "between-seed SDs"
    if plan.study.sd_seed is not None:
        basis = plan.pilot.basis if plan.pilot is not None else f"pilot SD {plan.study.sd_seed:g}"
        unit = f"{plan.study.headline} ({basis})"
    lines = wrapped(
        "detects", f"smallest effects found with 80 % power, in {unit}: Holm's strictest level (uncorrected)"
    )
    shown = [e for e in plan.effects if e.kind == "arm" or e.pairs != 1 or plan.design.steps]
    for effect in shown[:_EFFECTS]:
        text = f"{cut(effect.what, 46):<46}  {_effect(effect, plan):<16}  df {effect.df}"
        text += f", {effect.pairs} pairs" if effect.pairs > 1 else ", all arms" if effect.pairs == 0 else ""
        lines.append(" " * (LABEL + 2) + text)
    if len(shown) > _EFFECTS:
        lines.append(f"{'':{LABEL + 2}}... and {len(shown) - _EFFECTS} more")
    return lines


def _offered(other: Offer, plan: Plan) -> str:
    size = f"{count(other.arms, 'arm')}, {count(other.runs, 'run')}"
    size += f", {count(other.jobs, 'job')}" if other.jobs is not None else ""
    text = f"design: {other.design} has {size}"
    text += f", {duration(other.seconds_left)} left on one core" if other.seconds_left is not None else ""
    if plan.records_stage is None:
        return text
    arm = [e for e in other.effects if e.kind == "arm" and e.holm is not None]
    main = [e for e in other.effects if e.kind == "main" and e.pairs != 1 and e.holm is not None]
    if arm:
        text += f"; it detects one arm vs default at {_effect(arm[0], plan)}"
    if main:
        low, high = min(main, key=_holm), max(main, key=_holm)
        text += f", main effects at {_effect(low, plan)}"
        text += f" to {_effect(high, plan)}" if _holm(high) > _holm(low) * 1.005 else ""
    if arm and not main and other.design == "one_at_a_time":
        text += ", and no interaction"
    return text


def budget_lines(budget: Budget) -> list[str]:
    """The best that a budget buys, the command that runs it, and what else was looked at."""
    cores = count(budget.workers, "core")
    best = budget.best
    if best is None:
        cheap = budget.cheapest
        text = f"nothing fits {duration(budget.seconds)} of wall time on {cores}; the cheapest is design: "
        text += f"{cheap.offer.design} with {count(cheap.offer.seeds, 'seed')}, about {duration(cheap.wall_seconds)}"
        shown = cheap
    else:
        text = f"the best for {duration(budget.seconds)} of wall time on {cores}: design: {best.offer.design} with "
        text += f"{count(best.offer.seeds, 'seed')}, about {duration(best.wall_seconds)}"
        shown = best
    lines = wrapped("budget", text)
    lines.append(f"{'':{LABEL + 2}}{budget.command_of(shown)}")
    rows = [["design", "seeds", "runs", "wall time", "detects", "main effects", "fits"]]
    for candidate in budget.candidates[:_CANDIDATES]:
        made = candidate.offer
        total = sum(effect.kind == "main" for effect in made.effects) + len(made.lost)
        worst = "–" if made.worst is None else f"{made.worst:.2f}"
        rows.append([
            cut(made.design, 40), str(made.seeds), str(made.runs), duration(candidate.wall_seconds), worst,
            f"{total - len(made.lost)} of {total}", "yes" if candidate.fits else "no",
        ])  # fmt: skip
    lines += ["", *table(rows, left=1)]
    if len(budget.candidates) > _CANDIDATES:
        lines.append(f"  ... and {len(budget.candidates) - _CANDIDATES} more")
    note = "detects: the effect in between-seed SDs from which on every main effect is found (80 % power, Holm)"
    return [*lines, *wrapped("", note)]


def _holm(effect: Detectable) -> float:
    return effect.holm or 0.0


def _effect(effect: Detectable, plan: Plan) -> str:
    units = effect.in_units(plan.study.sd_seed)
    if units is not None:
        return f"{units[0]:.3g} ({units[1]:.3g})"
    return f"{effect.holm:.2f} ({effect.uncorrected:.2f})"
