"""The study.yaml of a study's folder: what was asked and declared, as the report reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.plan import Plan


def study_document(plan: Plan) -> dict[str, Any]:
    """The study.yaml that is written beside the records for the report."""
    study = plan.study
    document: dict[str, Any] = {
        "name": study.name,
        "question": study.question,
        "design": study.design,
        "axes": {axis.name: list(axis.levels) for axis in study.axes.values()},
        "arms": {arm.name: dict(arm.levels) for arm in plan.design.arms},
        "default": plan.design.arms[0].name,
        "headline": study.headline,
        "family": list(study.family) if study.family is not None else None,
        "seeds": list(study.seeds),
        "void": [
            {"when": {axis: list(covered) for axis, covered in void.when.items()}, "why": void.why}
            for void in study.voids
            if void.general and not void.nested
        ],
        "voids": [
            {"arm": dict(levels), "why": removed.void.why} for removed in plan.design.removed for levels in removed.arms
        ],
        "conditional_on": [
            *plan.conditional_on(),
            *(f"{arm}: {text}" for arm, text in plan.tuned.items()),
            *(f"limited by {limit.describe(len(plan.design.arms))}" for limit in plan.limits),
        ],
    }
    if nested := {axis.name: axis.only_if for axis in study.axes.values() if axis.only_if}:
        document["only_if"] = {name: {a: list(v) for a, v in levels.items()} for name, levels in nested.items()}
    if also := {arm.name: list(arm.also) for arm in plan.design.arms if arm.also}:
        document["also"] = also
    if plan.limits:
        document["limited"] = [asdict(limit) for limit in plan.limits]
    if study.match is not None:
        document["match"] = {"by": study.match.by, "to": study.match.to, "how": study.match.how}
    if plan.branches:
        document["match"]["branches"] = [asdict(branch) for branch in plan.branches]
    if plan.matched:
        document["match"] |= {
            "arms": {m.arm: {"steps": m.steps, "planned": m.total, "residual": m.residual} for m in plan.matched},
        }
    if study.margin is not None:
        document["margin"] = study.margin
    if study.until is not None:
        document["until"] = study.until
    if study.hypothesis is not None:
        document["hypothesis"] = study.hypothesis
    if study.interactions:
        document["interactions"] = [list(pair) for pair in study.interactions]
    if plan.design.method:
        document["method"] = plan.design.method
    if plan.design.model:
        document["model"] = list(plan.design.model)
    if plan.design.steps:
        document["steps"] = [list(step) for step in plan.design.steps]
    notes = {arm.name: arm.note for arm in plan.design.arms if arm.note}
    if notes:
        document["notes"] = notes
    return document
