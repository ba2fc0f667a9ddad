"""Correct a family of comparisons, and say what each comes to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from scipy import special, stats

from reports.contrast import Contrast, detectable_in_se
from reports.cube import Measure
from reports.effects import Effect
from reports.study import Study


def holm(p: np.ndarray) -> np.ndarray:
    """p-values adjusted by Holm's step-down procedure (Holm 1979).

    Our own three lines, because statsmodels collects garbage at every call (60 ms); a test holds them to its answers.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(stepped, 1.0)[np.argsort(order, kind="stable")]


def correct(effects: Sequence[Effect], method: str) -> list[Effect]:
    """Fill in `p_adjusted` over one family, and the smallest detectable effect at its strictest step.

    Args:
        effects: one family.
        method: `holm`, or `fdr_bh` for exploratory comparisons (their detectable effect is left unadjusted).
    """
    known = [e for e in effects if e.contrast.known]
    if not known:
        return list(effects)
    p = np.array([e.contrast.p for e in known])
    adjusted = holm(p) if method == "holm" else stats.false_discovery_control(p)
    by_id = {id(e): float(p) for e, p in zip(known, adjusted, strict=True)}
    size = len(known)
    alpha = 0.05 / size if method == "holm" else 0.05
    done = []
    for effect in effects:
        c = effect.contrast
        if c.known:
            detectable = detectable_in_se(round(c.df, 3), alpha) * c.se
            c = replace(c, p_adjusted=by_id[id(effect)], family_size=size, detectable=detectable)
        done.append(replace(effect, contrast=c))
    return done


def judge(effects: Sequence[Effect], study: Study, headline: Measure | None, lower: Collection[str]) -> list[Effect]:
    """The effects with their verdicts; ``lower``: `benchmark/name` of the measures of which less is better."""
    return [replace(e, verdict=verdict(e, study, headline, lower)) for e in effects]


def verdict(effect: Effect, study: Study, headline: Measure | None, lower: Collection[str]) -> str:
    """What a corrected effect says in a word, see :class:`reports.effects.Effect`."""
    c = effect.contrast
    if not c.known:
        return "not estimable"
    if c.scope == "this training run only":
        return "one seed"
    if study.margin is not None and effect.measure == headline and equivalent(c, study.margin):
        return "equivalent"
    if not c.significant:
        return "no evidence"
    if effect.kind == "interaction":
        return "interact"
    rises = c.estimate > 0
    return "helps" if rises != (f"{effect.measure.benchmark}/{effect.measure.name}" in lower) else "hurts"


def equivalent(found: Contrast, margin: float) -> bool:
    """Two one-sided tests at 5 %: the 90 % interval lies within the margin."""
    half = float(special.stdtrit(found.df, 0.95)) * found.se
    return -margin < found.estimate - half and found.estimate + half < margin
