"""Which comparisons a study makes: arms against the default, main effects over matched pairs; their verdicts.

A family is declared in the study file and corrected by Holm within each benchmark; main effects are a second
family; sub-scores, slices and other splits are exploratory, corrected by Benjamini and Hochberg, and called
so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from experiments.designs.model import main_weights
from reports.contrast import Contrast, contrast, detectable_in_se, seed_variance
from reports.interactions import interactions
from reports.measure import Cube, Measure, Scores
from reports.study import Study

UNEQUAL = 2.5  # an arm whose seed SD is this many times the other arms' is not pooled with them


@dataclass(frozen=True)
class Effect:
    """A comparison with its meaning.

    kind: `arm` (an arm against the default), `main_effect` (a level against the axis's first, over matched
    pairs, or by the model of a fraction), `interaction` (how much one level changes what another does, over matched
    quadruples; `axis` and `subject` then name two, as `regime*llm` and `adapter*frozen`). family: `declared`,
    `main effects`, `interactions` (those that the study names) or `exploratory`. verdict:
    helps, hurts, interact, equivalent, no evidence, one seed, not estimable.
    """

    kind: str
    measure: Measure
    subject: str  # the arm, or the level
    against: str  # the default arm, or the axis's first level
    contrast: Contrast
    axis: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    quadruples: tuple[tuple[str, str, str, str], ...] = ()
    fitted: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # arms at either level, where least squares weigh all
    family: str = "declared"
    verdict: str = "not estimable"
    unequal: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`llm=frozen`, of an arm and of a level alike."""
        return self.subject if self.kind == "arm" else f"{self.axis}={self.subject}"

    @property
    def name(self) -> str:
        """`llm=frozen`, or `tokens: pooled instead of dynamic` for a main effect."""
        if self.kind == "interaction":
            pairs = zip(str(self.axis).split("*"), self.subject.split("*"), strict=True)
            return " with ".join(f"{axis}={level}" for axis, level in pairs)
        return self.subject if self.kind == "arm" else f"{self.axis}: {self.subject} instead of {self.against}"


@dataclass
class Effects:
    """Every comparison of a study.

    `unequal` maps a measure to the arms whose seeds vary unlike the others', with the ratio of the spreads.
    """

    effects: list[Effect]
    unequal: dict[Measure, dict[str, float]]
    by_axis: bool  # whether findings are about axes: a factorial design, a fraction, or the steps of a cumulative one
    basis: str = ""  # how a main effect is made, in words

    def arm(self, measure: Measure, arm: str) -> Effect | None:
        """The comparison of an arm with the default."""
        return next((e for e in self.effects if e.kind == "arm" and e.measure == measure and e.subject == arm), None)

    def main(self, measure: Measure) -> list[Effect]:
        """The main effects on a measure, in the order of the axes."""
        return [e for e in self.effects if e.kind == "main_effect" and e.measure == measure]

    def interactions(self, measure: Measure) -> list[Effect]:
        """The two-way interactions on a measure, in the order of the axes."""
        return [e for e in self.effects if e.kind == "interaction" and e.measure == measure]

    def shown(self, measure: Measure) -> list[Effect]:
        """What a finding is about: main effects in a factorial design, else arms against the default."""
        if self.by_axis:
            return self.main(measure)
        return [e for e in self.effects if e.kind == "arm" and e.measure == measure]


def matched_pairs(study: Study, axis: str, level: str) -> list[tuple[str, str]]:
    """Pairs (arm at `level`, arm at the axis's first level) that differ on this axis only; an arm that overrides
    more than its levels is in none."""
    first = study.axes[axis][0]
    pairs = []
    arms = [arm for arm in study.arms if arm not in study.also]
    for arm in arms:
        if study.arms[arm].get(axis) != level or study.level(arm, axis) is None:
            continue
        for other in arms:
            if study.level(other, axis) == first and _same_elsewhere(study, arm, other, axis):
                pairs.append((arm, other))
                break
    return pairs


def _same_elsewhere(study: Study, arm: str, other: str, axis: str) -> bool:
    """Equal on every other axis; one that one of the two has no level of counts at its reference level."""
    others = [(study.arms[arm].get(a), study.arms[other].get(a), study.reference(a)) for a in study.axes if a != axis]
    return all((mine or start) == (theirs or start) for mine, theirs, start in others)


def spread_ratio(means_AS: np.ndarray, arm: int) -> float:
    """An arm's spread over seeds (seeds blocked) relative to what the other arms' pooled spread predicts.

    Its square follows F(S - 1, (A - 2)(S - 1)) when all arms vary alike. NaN with fewer than three arms or
    two seeds.
    """
    present_S = np.isfinite(means_AS[arm])
    others = np.delete(means_AS, arm, axis=0)
    others = others[np.isfinite(others[:, present_S]).all(axis=1)]
    if len(others) < 2 or present_S.sum() < 2:
        return math.nan
    variance, df = seed_variance(others)
    if df <= 0 or not variance > 0:
        return math.nan
    deviation_S = means_AS[arm, present_S] - others[:, present_S].mean(axis=0)
    return float(np.sqrt(deviation_S.var(ddof=1) / (variance * (1 + 1 / len(others)))))


def outlying_arms(cube: Cube, ratios: Mapping[str, float]) -> tuple[str, ...]:
    """Of the arms that spread unlike the others, those that chance does not explain: they do not enter the pool.

    A flag alone is no reason to leave an arm out: among a dozen equal arms some spread further than the rest, and a
    pool without them is too small (family-wise error of 7 % instead of 5 % with two seeds, in simulation). So the
    ratio's F test must be significant at 5 % over the number of arms.
    """
    found = []
    for arm, ratio in ratios.items():
        others = [i for i, a in enumerate(cube.arms) if a != arm]
        df = seed_variance(cube.means_AS[others])[1]
        seeds = int(np.isfinite(cube.means_AS[cube.arms.index(arm)]).sum())
        if special.fdtrc(seeds - 1, df, ratio**2) < 0.05 / len(cube.arms):
            found.append(arm)
    return tuple(found)


@dataclass(frozen=True)
class Spread:
    """How the seeds of a measure's arms spread.

    unequal: arms whose seeds spread more than `UNEQUAL` times as far as the other arms', with the ratio.
    outlying: those of them that do not enter the pool, see `outlying_arms`.
    """

    unequal: dict[str, float]
    outlying: tuple[str, ...]


def spread_of(cube: Cube) -> Spread:
    """Look at the arms of a measure, once for all its comparisons."""
    ratios = {arm: spread_ratio(cube.means_AS, i) for i, arm in enumerate(cube.arms)}
    unequal = {arm: r for arm, r in ratios.items() if math.isfinite(r) and r > UNEQUAL}
    return Spread(unequal, outlying_arms(cube, unequal))


def compute_effects(study: Study, scores: Scores, lower: Collection[str] = ()) -> Effects:
    """All comparisons: every primary score by Holm, every part, slice and further split exploratory.

    Args:
        study: what was declared.
        scores: the measures.
        lower: `benchmark/name` of the measures of which less is better.
    """
    unequal: dict[Measure, dict[str, float]] = {}
    found: list[Effect] = []
    exploratory: dict[tuple[str, ...], list[Effect]] = {}

    def judge(effects: Sequence[Effect], method: str) -> None:
        found.extend(_judge(correct(effects, method), study, scores.headline, lower))

    for measure in scores.primary:
        cube = scores.cube(measure)
        if cube is None:
            continue
        spread = spread_of(cube)
        unequal[measure] = spread.unequal
        arms = arm_effects(study, measure, cube, spread)
        judge([e for e in arms if e.subject in study.family], "holm")
        rest = [replace(e, family="exploratory") for e in arms if e.subject not in study.family]
        exploratory.setdefault((measure.benchmark, "arms outside the family"), []).extend(rest)
        judge(_main_effects(study, measure, cube, spread), "holm")
        named, others = _interactions(study, measure, cube, spread)
        judge(named, "holm")
        exploratory.setdefault((measure.benchmark, "interactions"), []).extend(others)
        for kind, sides in _side_measures(scores, measure).items():
            for side in sides:
                side_cube = scores.cube(side)
                if side_cube is None or not _varies(side_cube):
                    continue
                side_spread = spread_of(side_cube)
                unequal[side] = side_spread.unequal
                for make in (arm_effects, _main_effects):
                    more = [replace(e, family="exploratory") for e in make(study, side, side_cube, side_spread)]
                    exploratory.setdefault((measure.benchmark, kind, make.__name__), []).extend(more)
    for group in exploratory.values():
        judge(group, "fdr_bh")
    basis = ""
    if any(any(e.fitted) for e in found):
        basis = "by least squares over the arms of the fraction, interactions outside its model taken to be nil"
    elif study.extra.get("steps"):
        basis = "one step after another: each arm less the one before it"
    elif any(len(e.pairs) > 1 for e in found if e.kind == "main_effect"):
        basis = "averaged over matched pairs of arms that differ in one axis only"
    return Effects(found, unequal, bool(basis), basis)


def _varies(cube: Cube) -> bool:
    """Whether runs differ at all; a property of the examples alone is no outcome."""
    return bool(np.nanmax(cube.means_AS) > np.nanmin(cube.means_AS))


def _side_measures(scores: Scores, measure: Measure) -> dict[str, list[Measure]]:
    """What is looked at beside a score, in the groups within which it is corrected."""
    return {
        "parts": [replace(measure, name=name, part=True) for name in scores.parts(measure)],
        "slices": [replace(measure, kind=kind) for kind in scores.kinds(measure)],
        "splits": scores.splits(measure),
    }


def arm_effects(study: Study, measure: Measure, cube: Cube, spread: Spread) -> list[Effect]:
    """Every arm against the default, uncorrected; ``spread``: from :func:`spread_of`."""
    return [
        _effect("arm", measure, cube, {arm: 1.0, study.default: -1.0}, spread, arm, study.default)
        for arm in study.others
    ]


def _main_effects(study: Study, measure: Measure, cube: Cube, spread: Spread) -> list[Effect]:
    found = []
    for axis, levels in study.axes.items():
        for level in levels[1:]:
            if study.extra.get("model"):
                found.append(_fitted_effect(study, measure, cube, spread, axis, level))
                continue
            pairs = matched_pairs(study, axis, level)
            # A pair counts where this measure exists for both (an arm without images has no text-to-image
            # score).
            usable = [pair for pair in pairs if all(cube.run_means(arm) for arm in pair)]
            weights: dict[str, float] = {}
            for arm, other in usable:
                weights[arm] = weights.get(arm, 0.0) + 1 / len(usable)
                weights[other] = weights.get(other, 0.0) - 1 / len(usable)
            effect = _effect("main_effect", measure, cube, weights, spread, level, levels[0])
            if not usable:
                reason = "no two arms differ in this axis only" if not pairs else "an arm of every pair has no score"
                effect = replace(effect, contrast=Contrast(reason=reason))
            found.append(replace(effect, axis=axis, pairs=tuple(usable), family="main effects"))
    return found


def _interactions(study: Study, measure: Measure, cube: Cube, spread: Spread) -> tuple[list[Effect], list[Effect]]:
    """Two-way interactions: those of the axes that the study names (`interactions: [[a, b]]`), and the others."""
    named: list[Effect] = []
    others: list[Effect] = []
    declared = {frozenset(map(str, pair)) for pair in study.extra.get("interactions") or []}
    for found in interactions(study, cube):
        subject, against, axis = ("*".join(names) for names in (found.levels, found.against, found.axes))
        effect = _effect("interaction", measure, cube, found.weights, spread, subject, against)
        own = frozenset(found.axes) in declared
        effect = replace(effect, axis=axis, quadruples=found.quadruples)
        (named if own else others).append(replace(effect, family="interactions" if own else "exploratory"))
    return named, others


def _fitted_effect(study: Study, measure: Measure, cube: Cube, spread: Spread, axis: str, level: str) -> Effect:
    """A main effect of a fraction: least squares under the model that the study names, over the arms with a score."""
    first = study.axes[axis][0]
    terms = [str(term) for term in study.extra["model"]]
    usable = [arm for arm in study.arms if arm not in study.also and cube.run_means(arm)]
    rows = [{a: study.arms[arm].get(a) or study.reference(a) for a in study.axes} for arm in usable]
    fitted = main_weights(study.axes, rows, terms, axis, level, first) if usable else None
    weights = dict(zip(usable, fitted, strict=True)) if fitted is not None else {}
    effect = _effect("main_effect", measure, cube, weights, spread, level, first)
    if fitted is None:
        effect = replace(effect, contrast=Contrast(reason="the arms that have a score do not tell it apart"))
    sides = tuple(tuple(a for a in weights if study.arms[a].get(axis) == side) for side in (level, first))
    return replace(effect, axis=axis, fitted=(sides[0], sides[1]), family="main effects")


def _effect(
    kind: str,
    measure: Measure,
    cube: Cube,
    weights: dict[str, float],
    spread: Spread,
    subject: str,
    against: str,
) -> Effect:
    odd = tuple(arm for arm in weights if arm in spread.unequal)
    found = contrast(cube, weights, pooled=not odd, exclude=spread.outlying)
    return Effect(kind, measure, subject, against, found, unequal=odd)


def correct(effects: Sequence[Effect], method: str) -> list[Effect]:
    """Fill in `p_adjusted` over one family, and the smallest detectable effect at its strictest step.

    Args:
        effects: one family.
        method: `holm`, or `fdr_bh` for exploratory comparisons (their detectable effect is left unadjusted).
    """
    from statsmodels.stats.multitest import multipletests

    known = [e for e in effects if e.contrast.known]
    if not known:
        return list(effects)
    adjusted = multipletests([e.contrast.p for e in known], method=method)[1]
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


def _judge(effects: Sequence[Effect], study: Study, headline: Measure | None, lower: Collection[str]) -> list[Effect]:
    return [replace(e, verdict=_verdict(e, study, headline, lower)) for e in effects]


def _verdict(effect: Effect, study: Study, headline: Measure | None, lower: Collection[str]) -> str:
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
