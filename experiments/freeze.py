"""A plan written down before the first run, and what differs from it afterwards: `lavit plan --freeze`.

``<runs>/<study>/plan.frozen.json`` holds the question, what is compared with what, and for every arm its config, code
versions and stage keys. It is written once; writing it again needs a reason, which stays in it. Collecting results
compares the plan that they belong to with the frozen one, and the report lists every deviation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.compose import leaves
from experiments.environment import git_state
from experiments.errors import LavitError
from experiments.key import incidental_keys, without
from experiments.offers import design_value
from experiments.plan import Plan, Run
from experiments.store import read_json, write_atomic

FILE = "plan.frozen.json"
_DECLARED = (
    *("question", "hypothesis", "design", "headline", "family", "interactions", "margin", "until", "default", "void"),
)
_ABSENT = "(absent)"
_NAMED = 4  # arms that a deviation names


def frozen_path(plan: Plan) -> Path:
    """Where a study's frozen plan lies."""
    return plan.runs_dir / plan.study.name / FILE


def freeze(plan: Plan, reason: str | None = None) -> str:
    """Write the plan down.

    Args:
        plan: the plan of the whole study.
        reason: why it is written again; needed where a frozen plan lies there.

    Returns:
        What to tell: where it lies, and which runs were done before.

    Raises:
        LavitError: the plan was frozen before and no reason is given.
    """
    path = frozen_path(plan)
    before = read_json(path)
    if reason is not None and not reason.strip():
        raise LavitError("--refreeze: the reason is empty", "say why the plan changes: the report prints it")
    if path.exists() and reason is None:
        when = before.get("date", "an unknown date") if isinstance(before, dict) else "an unknown date"
        raise LavitError(f"{path}: the plan was frozen on {when}", "--refreeze REASON writes it again and records why")
    document = plan_document(plan)
    document["date"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    document["done_before"] = [run.name for run in plan.runs if _is_done(plan, run)]
    document["history"] = []
    if isinstance(before, dict):
        gone = {"date": before.get("date"), "reason": reason, "deviations": deviations(before, document)}
        document["history"] = [*before.get("history", []), gone]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(document, indent=1, ensure_ascii=False, default=str))
    told = f"frozen: {path}"
    if done := document["done_before"]:
        told += f"\nwarning: {len(done)} of {len(plan.runs)} runs are done already, which is recorded and reported: "
        told += _some(done)
    return told


def frozen_state(plan: Plan) -> dict[str, Any] | None:
    """What the report tells of the frozen plan: when, and every deviation of `plan` from it; None without one."""
    frozen = read_json(frozen_path(plan))
    if not isinstance(frozen, dict):
        return None
    kept = {key: frozen.get(key) for key in ("date", "git", "done_before", "history")}
    return {**kept, "deviations": deviations(frozen, plan_document(plan))}


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as plain data: what is asked and compared, and each arm's config, code versions and keys."""
    git = git_state()
    study = plan.study
    base: dict[str, Any] = {}
    arms: dict[str, Any] = {}
    for run in plan.runs:
        if run.arm not in arms:
            config = _config(plan, run)
            base = base or config
            changed = {path: config.get(path, _ABSENT) for path in [*base, *config] if _other(base, config, path)}
            code = {stage: plan.jobs[stage, key].code for stage, key in run.stage_keys.items()}
            arms[run.arm] = {"levels": run.levels, "config": changed, "code": code, "keys": {}}
        arms[run.arm]["keys"][str(run.seed)] = run.stage_keys
    asked = {key: value for key, value in plan.study_document().items() if key in _DECLARED}
    document = {
        "study": study.name,
        "git": {"commit": git["commit"], "dirty": git["dirty"]},
        "asked": {**dict.fromkeys(_DECLARED), **asked, "design": design_value(study)},
        "seeds": list(study.seeds),
        "stages": plan.stages,
        "sd_seed": study.sd_seed,
        "detects": [{"what": e.what, "holm": e.holm, "uncorrected": e.uncorrected} for e in plan.effects],
        "config": base,
        "arms": arms,
    }
    return dict(json.loads(json.dumps(document, default=str)))


def _config(plan: Plan, run: Run) -> dict[str, Any]:
    """Every leaf that a stage of this run reads, but what changes only how fast it comes."""
    found: dict[str, Any] = {}
    for stage, key in run.stage_keys.items():
        found.update(leaves(without(plan.jobs[stage, key].config, incidental_keys(run.config))))
    return found


def _other(one: Mapping[str, Any], two: Mapping[str, Any], path: str) -> bool:
    return bool(one.get(path, _ABSENT) != two.get(path, _ABSENT))


def _is_done(plan: Plan, run: Run) -> bool:
    return all(plan.jobs[stage, key].done for stage, key in run.stage_keys.items())


def deviations(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Every difference between two plan documents, one line each."""
    found = []
    for key in _DECLARED:
        old, new = frozen["asked"].get(key), now["asked"].get(key)
        if old != new:
            found.append(f"{key}: {_shown(old)} → {_shown(new)}")
    found += _members("seed", frozen["seeds"], now["seeds"])
    found += _members("arm", frozen["arms"], now["arms"])
    found += _members("stage", frozen["stages"], now["stages"])
    common = [arm for arm in frozen["arms"] if arm in now["arms"]]
    explained: set[str] = set()
    changes: dict[str, list[str]] = {}
    for arm in common:
        for line in _config_changes(frozen, now, arm):
            changes.setdefault(line, []).append(arm)
    for arm in common:
        old, new = frozen["arms"][arm]["code"], now["arms"][arm]["code"]
        for stage in old:
            if stage in new and old[stage] != new[stage]:
                line = f"code of the stage {stage}: {old[stage][:8]} → {new[stage][:8]}"
                changes.setdefault(line, []).append(arm)
    for line, arms in changes.items():
        who = "every arm" if len(arms) == len(common) else _some(arms)
        found.append(f"{line} ({who})")
        explained |= set(arms)
    found += _unexplained(frozen, now, [arm for arm in common if arm not in explained])
    return found


def _config_changes(frozen: Mapping[str, Any], now: Mapping[str, Any], arm: str) -> list[str]:
    old, new = ({**document["config"], **document["arms"][arm]["config"]} for document in (frozen, now))
    return [
        f"{path}: {_shown(old.get(path, _ABSENT))} → {_shown(new.get(path, _ABSENT))}"
        for path in dict.fromkeys([*old, *new])
        if _other(old, new, path)
    ]


def _unexplained(frozen: Mapping[str, Any], now: Mapping[str, Any], arms: Iterable[str]) -> list[str]:
    """Stages that have another key though neither config nor code changed: other data files behind the same names."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        for seed, old in frozen["arms"][arm]["keys"].items():
            new = now["arms"][arm]["keys"].get(seed, old)
            stage = next((stage for stage in old if stage in new and old[stage] != new[stage]), None)
            if stage is not None:
                found.setdefault(stage, []).append(arm)
    return [
        f"the stage {stage} has another key, with the same config and code: other data files ({_some(names)})"
        for stage, names in found.items()
    ]


def _members(what: str, old: Iterable[Any], new: Iterable[Any]) -> list[str]:
    before, after = [str(item) for item in old], [str(item) for item in new]
    added = [f"{what} added: {item}" for item in after if item not in before]
    return added + [f"{what} missing: {item}" for item in before if item not in after]


def _some(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _NAMED} more" if len(unique) > _NAMED else ""
    return ", ".join(unique[:_NAMED]) + more


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
