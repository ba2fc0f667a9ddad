"""What would change a verdict: more seeds, more examples, or neither; from the two parts of the variance."""

from __future__ import annotations

import math

from reports.contrast import ONE_SEED, half_width
from reports.effects import Effect
from reports.wording import Shown

MOST_SEEDS = 60
FACTORS = (2, 3, 5, 10, 20, 50, 100)  # how many times the examples
CALLED = ("helps", "hurts")


def what_would_change(shown: Shown, effect: Effect, margin: float | None = None) -> str:
    """One sentence or two, computed; empty where nothing is to be said.

    Args:
        shown: the measure, as it is shown.
        effect: a comparison of any verdict.
        margin: differences below it do not matter, in stored units.
    """
    c = effect.contrast
    if not c.known:
        return _missing(c.reason)
    if c.scope == "this training run only":
        return "a second seed: without one nothing is known about the method beyond this run."
    if not c.se > 0:
        return ""
    now, then = shown.number(half_width(c, c.n_seeds)), shown.number(half_width(c, 2 * c.n_seeds))
    if effect.verdict in CALLED:
        times = abs(c.estimate) / c.detectable if c.detectable > 0 else math.inf
        text = f"a true difference below {shown.number(c.detectable)} could have been missed; the observed one is "
        text += f"{times:.1f} times that."
        return text + f" {2 * c.n_seeds} seeds would narrow ±{now} to ±{then}."
    if effect.verdict == "equivalent" and margin is not None:
        least = shown.number(margin)
        return (
            f"a smaller margin than ±{least}, or an estimate beyond it: {2 * c.n_seeds} seeds give ±{then}, now ±{now}."
        )
    return _to_be_called(shown, effect, now, then) + _to_be_equivalent(shown, effect, margin)


def _missing(reason: str) -> str:
    """Where there is no interval: what is missing for one."""
    if reason == ONE_SEED:
        return "a second seed: this number has one value a run, and only runs tell how far it spreads."
    if reason.startswith("no finished run"):
        return "finishing those runs."
    if reason == "the arms share no seed":
        return "a seed that all of these arms have."
    return ""


def _to_be_called(shown: Shown, effect: Effect, now: str, then: str) -> str:
    c = effect.contrast
    alpha = 0.05 / c.family_size
    seeds = next((s for s in range(c.n_seeds + 1, MOST_SEEDS) if half_width(c, s, alpha=alpha) < abs(c.estimate)), None)
    double = f"{2 * c.n_seeds}: ±{then}, now ±{now}"
    if seeds is not None:
        return f"an effect of the size observed would be called with {seeds} seeds ({double})."
    if c.scope == "seeds":
        return (
            f"no feasible number of seeds: the estimate is too close to zero ({double}); examples do not enter, since "
            "this is one number a run."
        )
    more = next((k for k in FACTORS if half_width(c, MOST_SEEDS, k, alpha) < abs(c.estimate)), None)
    if more is None:
        return f"nothing feasible: the estimate is too close to zero ({2 * c.n_seeds} seeds: ±{then}, now ±{now})."
    return (
        f"no number of seeds settles an effect of the size observed on this test set: it needs about {more} times "
        "the examples as well."
    )


def _to_be_equivalent(shown: Shown, effect: Effect, margin: float | None) -> str:
    """With how many seeds an estimate that stays would be within the margin (the 90 % interval)."""
    c = effect.contrast
    if margin is None or abs(c.estimate) >= margin:
        return ""
    left = margin - abs(c.estimate)
    seeds = next((s for s in range(c.n_seeds + 1, MOST_SEEDS) if half_width(c, s, alpha=0.10) < left), None)
    if seeds is None:
        return ""
    return f" Equivalent within ±{shown.number(margin)} it would be with {seeds} seeds, if the estimate stays."
