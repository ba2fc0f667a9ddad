"""report.json: every number of the page, in stored units, for other programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reports.bootstrap import CAUTION
from reports.discordance import discordances
from reports.effects import Effect
from reports.findings import warnings
from reports.matched import Matched
from reports.price import matched_budgets, plan_against_actual
from reports.rank_tests import rank_tests
from reports.render.csv import finite, numbers_of
from reports.results import Results
from reports.sensitivity import Sensitivity
from reports.table import Table
from reports.wording import Finding


def make_document(results: Results, findings: list[Finding], tables: list[Table]) -> dict[str, Any]:
    """Everything that a report says, as plain data; what is not known is null."""
    study = results.frame.study
    budget, values = results.equal_flops
    return {
        "study": study.name,
        "question": study.question,
        "headline": study.headline,
        "default": study.default,
        "family": list(study.family),
        "arms": [
            {"arm": arm, "levels": study.arms[arm], "seeds": results.frame.done(arm)} for arm in results.frame.arms
        ],
        "contrasts": [*map(_contrast, results.effects.effects), *map(_matched, results.matched)],
        "bootstrap": CAUTION,
        "mcnemar": _mcnemar(results),
        "rank_tests": asdict(ranks) if (ranks := rank_tests(results)) is not None else None,
        "sensitivity": [_sensitivity(found) for found in results.sensitivity],
        "controls": [
            {
                "arm": gap.arm,
                "benchmark": gap.measure.benchmark,
                "metric": gap.measure.name,
                "control": gap.control,
                "score": gap.score,
                "value": gap.floor,
                "clear": gap.clear,
                **numbers_of(gap.contrast),
            }
            for gap in (*results.floors, *results.ceilings)
        ],
        "means": _means(results),
        "equal_flops": {
            "budget": finite(budget),
            "curve": f"val/{study.headline}",
            "values": {arm: {str(s): v for s, v in per_seed.items()} for arm, per_seed in values.items()},
            "contrasts": [
                {"arm": arm, "against": study.default, **numbers_of(found)}
                for arm, found in results.equal_flops_contrasts.items()
            ],
        },
        "plan_against_actual": [
            {
                "stage": c.stage,
                "item": c.item,
                "planned": c.planned,
                "measured": c.measured,
                "difference": finite(c.difference),
                "flagged": c.flagged,
                "jobs": c.jobs,
                "basis": c.basis,
            }
            for c in plan_against_actual(results.frame)
        ],
        "matched_budgets": [
            {"arm": b.arm, "planned": finite(b.planned), "measured": b.measured, "flagged": b.flagged}
            for b in matched_budgets(results.frame)
        ],
        "unequal_variance": [
            {
                "benchmark": m.benchmark,
                "metric": m.name,
                "kind_of_example": m.kind,
                "arm": arm,
                "ratio": ratio,
            }
            for m, arms in results.effects.unequal.items()
            for arm, ratio in arms.items()
        ],
        "findings": [
            {
                "title": f.title,
                "verdict": f.verdict,
                "sentence": f.sentence,
                "what_would_change_this": f.change,
            }
            for f in findings
        ],
        "fingerprints": [
            {"arm": arm, "seed": seed, "benchmark": benchmark, **found}
            for (arm, seed), own in results.frame.fingerprints.by_run.items()
            for benchmark, found in own.items()
        ],
        "absent": results.frame.skipped,
        "frozen": results.frame.header.get("frozen"),
        "warnings": warnings(results),
        "tables": [table.name for table in tables],
    }


def _contrast(effect: Effect) -> dict[str, Any]:
    measure = effect.measure
    found: dict[str, Any] = {"kind": effect.kind, "benchmark": measure.benchmark, "metric": measure.name}
    found |= {"split": measure.split, "kind_of_example": measure.kind}
    if effect.kind in ("arm", "matched"):
        found["arm"] = effect.subject
    else:
        found |= {
            "axis": effect.axis,
            "level": effect.subject,
            "pairs": [list(pair) for pair in effect.pairs],
            "quadruples": [list(four) for four in effect.quadruples],
            "fitted": [list(side) for side in effect.fitted],
        }
    found |= {"against": effect.against, "family": effect.family, "verdict": effect.verdict}
    found |= {"unequal_variance": list(effect.unequal)} | numbers_of(effect.contrast)
    c = effect.contrast
    if c.replicates:
        found |= {"bootstrap_low": c.bootstrap_low, "bootstrap_high": c.bootstrap_high, "replicates": c.replicates}
    return found


def _matched(matched: Matched) -> dict[str, Any]:
    """A comparison at equal budgets; where `interpolated`, its numbers are read from validation curves (‡)."""
    told = {
        "by": matched.by,
        "budget": matched.budget,
        "budget_ratio": matched.ratio,
        "interpolated": matched.interpolated,
    }
    return _contrast(matched.effect) | told | {"on_the_way": matched.on_the_way}


def _sensitivity(found: Sensitivity) -> dict[str, Any]:
    readings = [asdict(reading) | {"p_adjusted": finite(reading.p_adjusted)} for reading in found.readings]
    measure = found.effect.measure
    row = {"kind": found.effect.kind, "comparison": found.effect.name, "benchmark": measure.benchmark}
    return row | {"metric": measure.name, "readings": readings, "changed": list(found.changed)}


def _mcnemar(results: Results) -> list[dict[str, Any]]:
    """McNemar's test of each arm against the default, seed by seed, where scores are right or wrong."""
    found = []
    for effect in results.effects.effects:
        cube = results.scores.cube(effect.measure) if effect.kind == "arm" and effect.contrast.known else None
        for told in discordances(cube, effect.subject, effect.against) if cube else []:
            measure = effect.measure
            row = {"arm": effect.subject, "against": effect.against, "benchmark": measure.benchmark}
            found.append(row | {"metric": measure.name, "kind_of_example": measure.kind} | asdict(told))
    return found


def _means(results: Results) -> list[dict[str, Any]]:
    """Each run's mean on each measure."""
    found = []
    for measure in results.scores.primary:
        cube = results.scores.cube(measure)
        for arm in results.frame.arms if cube else []:
            assert cube is not None
            for seed, mean in cube.run_means(arm).items():
                row = {"arm": arm, "seed": seed, "benchmark": measure.benchmark, "metric": measure.name}
                found.append({**row, "split": measure.split, "mean": mean, "n_examples": cube.examples})
    return found
