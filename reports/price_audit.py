"""The audit's lines on cost: what was planned against what was measured, and budgets that were to be equal."""

from __future__ import annotations

import math

from reports.check import Check
from reports.price import MATCHED, TOLERANCE, Compared, matched_budgets, plan_against_actual
from reports.results import Results


def price_check(results: Results) -> Check | None:
    """Prices of the plan against what ledgers measured, stage by stage; what is far off is named first."""
    compared = plan_against_actual(results.frame)
    if not compared:
        return None
    off = [f"{c.stage}, {c.item}: {_difference(c)}" for c in compared if c.flagged]
    text = f"planned and measured within {TOLERANCE:.0%} in every stage"
    if off:
        what = "entry differs" if len(off) == 1 else "entries differ"
        text = f"{len(off)} of {len(compared)} {what} by more than {TOLERANCE:.0%}: {'; '.join(off)}"
    items = []
    for stage in dict.fromkeys(c.stage for c in compared):
        own = [c for c in compared if c.stage == stage]
        count = max(c.jobs for c in own)
        listed = "; ".join(f"{c.item} {_difference(c)}" for c in own)
        items.append(f"{stage} ({count} {'job' if count == 1 else 'jobs'}): {listed}")
    return Check("Plan and actual cost", "warn" if off else "ok", text, tuple(items))


def _difference(c: Compared) -> str:
    if c.planned == c.measured:
        return f"{_amount(c.planned)} as planned"
    basis = f" ({c.basis})" if c.basis else ""
    planned, measured = (f"{v:,.1f}" if c.item == "seconds" else _amount(v) for v in (c.planned, c.measured))
    return f"{planned} planned{basis}, {measured} measured ({_percent(c.difference)})"


def matched_check(results: Results) -> Check | None:
    """Budgets that were to be equal, as they were measured."""
    budgets = matched_budgets(results.frame)
    if not budgets:
        return None
    off = [budget.arm for budget in budgets if budget.flagged]
    match = results.frame.study.extra["match"]
    what, base = str(match["by"]).replace("_", " "), match.get("to", "default")
    text = f"{what} of every arm within {MATCHED:.0%} of those of {base}"
    if off:
        text = f"{what} of {', '.join(off)} differ by more than {MATCHED:.0%} from those of {base}"
    items = (f"{b.arm}: {_percent(b.planned)} planned, {_percent(b.measured)} measured" for b in budgets)
    return Check("Matched budgets", "warn" if off else "ok", text, tuple(items))


def _percent(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−") if math.isfinite(share) else "not planned"


def _amount(value: float) -> str:
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"
