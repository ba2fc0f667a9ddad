"""Why a stage would run again: the part of its key that is not what it was, against the nearest finished stage.

The stage that was made for the same arm and seed before is looked at first (the study's ``runs.json`` names it), then
the finished stage of the same kind that differs in the fewest parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.differences import Difference, compare, read_request
from experiments.errors import LavitError, did_you_mean
from experiments.key import incidental_keys
from experiments.plan import Plan, Run
from experiments.status import job_state
from experiments.store import DONE, Store, read_json

NEAREST_OF = 500  # finished stages of one kind that are looked at, the last made first


@dataclass
class StageReason:
    """How one stage of a run stands.

    Attributes:
        state: done, running, failed or missing, as the store has it.
        against: the key that it is compared with; None where no finished stage of this kind is there.
        origin: which one that is, in words.
        difference: what differs; None where there is nothing to compare with.
        notes: what else is to be said.
    """

    stage: str
    key: str
    state: str
    against: str | None = None
    origin: str = ""
    difference: Difference | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        difference = self.difference.to_dict() if self.difference is not None else None
        names = ("stage", "key", "state", "against", "origin", "notes")
        return {name: getattr(self, name) for name in names} | {"difference": difference}


def find_run(plan: Plan, arm: str = "", seed: int | None = None) -> Run:
    """The run of an arm, by the name that the plan prints; the default arm and the first seed where none is named."""
    arm = arm or next(iter(plan.arms))
    found = [run for run in plan.runs if run.arm == arm]
    if not found:
        raise LavitError(f"{plan.study.name} has no arm '{arm}'", did_you_mean(arm, plan.arms))
    if seed is None:
        return found[0]
    chosen = next((run for run in found if run.seed == seed), None)
    if chosen is None:
        known = ", ".join(str(run.seed) for run in found)
        raise LavitError(f"{plan.study.name} has no seed {seed} of the arm '{arm}'", f"there is: {known}")
    return chosen


def explain(plan: Plan, run: Run) -> list[StageReason]:
    """One entry for each stage of a run, in order; those that are done and nobody asks about say only that."""
    store = Store(plan.runs_dir)
    before = _recorded_keys(plan, run)
    reasons: dict[str, StageReason] = {}
    for stage, key in run.stage_keys.items():
        state = job_state(store, stage, key)
        reasons[stage] = StageReason(stage, key, state)
        if state != "done":
            _explain(reasons[stage], plan, run, store, before.get(stage))
    for reason in list(reasons.values()):  # what a missing stage needs under another key: say why that one changed
        for stage, (old, _) in (reason.difference.needs if reason.difference else {}).items():
            upstream = reasons.get(stage)
            if upstream is not None and upstream.difference is None and upstream.state == "done":
                _against(upstream, plan, run, store, old, "needed before")
    return list(reasons.values())


def _explain(reason: StageReason, plan: Plan, run: Run, store: Store, before: str | None) -> None:
    if reason.state == "failed":
        failure = store.failure(reason.stage, reason.key) or {}
        reason.notes.append(f"the last attempt failed: {failure.get('class')}: {failure.get('message')}")
    if before == reason.key:
        reason.notes.append("it was made for this arm before with this very key: its folder was removed or altered")
        return
    if (store.folder(reason.stage, reason.key) / DONE).exists():
        reason.notes += store.verify(reason.stage, reason.key)
        return
    if before is not None and read_request(store, reason.stage, before) is not None:
        _against(reason, plan, run, store, before, "made for this arm before")
    else:
        _nearest(reason, plan, run, store)
    if reason.against is None:
        reason.notes.append("no finished stage of this kind to compare with")


def _against(reason: StageReason, plan: Plan, run: Run, store: Store, old: str, origin: str) -> None:
    asked = plan.jobs[reason.stage, reason.key].request()
    body = read_request(store, reason.stage, old)
    reason.against, reason.origin = old, origin
    if body is None:
        reason.notes.append("its request.yaml cannot be read, so what changed is not known")
        return
    reason.difference = compare(store.root, body, asked, incidental_keys(run.config))
    if not reason.difference.size:
        reason.notes.append("nothing that is written down differs: the files that `data` names changed")


def _nearest(reason: StageReason, plan: Plan, run: Run, store: Store) -> None:
    asked = plan.jobs[reason.stage, reason.key].request()
    made = sorted((store.root / reason.stage).glob(f"*/{DONE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    best: tuple[int, str] | None = None
    for path in made[:NEAREST_OF]:
        body = read_request(store, reason.stage, path.parent.name)
        if body is None or path.parent.name == reason.key:
            continue
        size = compare(store.root, body, asked, incidental_keys(run.config)).size
        if best is None or size < best[0]:
            best = size, path.parent.name
    if best is not None:
        _against(reason, plan, run, store, best[1], "the nearest finished one")


def _recorded_keys(plan: Plan, run: Run) -> dict[str, str]:
    """Stage keys that the study's last collection recorded for this arm and seed."""
    body = read_json(plan.runs_dir / plan.study.name / "runs.json")
    for entry in (body or {}).get("runs", []):
        if entry.get("arm") == run.arm and entry.get("seed") == run.seed:
            return dict(entry.get("stage_keys") or {})
    return {}


def render_reasons(run: Run, reasons: list[StageReason]) -> str:
    """The answer on the console."""
    missing = [reason for reason in reasons if reason.state != "done"]
    head = f"{run.name}: all {len(reasons)} stages are done, nothing would run"
    if missing:
        head = f"{run.name}: {len(missing)} of {len(reasons)} stages would run"
    lines = [head]
    width = max(len(reason.stage) for reason in reasons)
    for reason in reasons:
        state = {"done": "done", "running": "running"}.get(reason.state, "would run")
        lines.append(f"  {reason.stage:<{width}}  {reason.key}  {state}")
        pad = " " * (width + 4)
        if reason.against is not None:
            lines.append(f"{pad}against {reason.against}, {reason.origin}")
        lines += [f"{pad}  {line}" for line in (reason.difference.lines() if reason.difference else [])]
        lines += [f"{pad}{note}" for note in reason.notes]
    return "\n".join(lines)
