"""The audit's line on other analyses: which conclusions rest on pooling the seeds of all arms."""

from __future__ import annotations

import math

from reports.check import Check
from reports.results import Results
from reports.sensitivity import OWN, Sensitivity
from reports.wording import Shown, format_p


def sensitivity_check(results: Results) -> Check | None:
    """Every headline comparison under every analysis; None with one seed, where there is nothing to pool."""
    found = results.sensitivity
    if not found:
        return None
    lines = tuple(_line(results, one) for one in found)
    rest = [(s, own) for s in found if (own := s.reading(OWN)) is not None and own.changed]
    if not rest:
        return Check("Sensitivity", "ok", "no conclusion changes under the unpooled interval", lines)
    parts = [f"{s.effect.name} ({s.effect.verdict}, then {own.verdict})" for s, own in rest]
    return Check(
        "Sensitivity", "warn", f"conclusions that change under the unpooled interval: {'; '.join(parts)}", lines
    )


def _line(results: Results, found: Sensitivity) -> str:
    shown = Shown(found.effect.measure, results.display(found.effect.measure))
    parts = [f"{r.name} {shown.ends(r.low, r.high)}, {r.verdict}" for r in found.readings]
    parts += [f"McNemar in seed {t.seed}: {t.wins} won, {t.losses} lost, p {format_p(t.p)}" for t in found.mcnemar]
    share = found.effect.contrast.seed_share
    spread = f"; seeds are {share:.0%} of the variance" if math.isfinite(share) else ""
    return f"{found.effect.name}: {'; '.join(parts)}{spread}."
