"""How far a study is: what each stage's jobs and each run are doing, read from the store alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from experiments.failures import classify
from experiments.lease import holder
from experiments.plan import Plan, Run
from experiments.store import PROGRESS, Store

State = Literal["done", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "missing")


def job_state(store: Store, stage: str, key: str) -> State:
    """The state of one stage: done beats running, running beats an earlier failure."""
    if store.is_done(stage, key):
        return "done"
    if holder(store.folder(stage, key)) is not None:
        return "running"
    return "failed" if store.failure(stage, key) else "missing"


@dataclass(frozen=True)
class RunState:
    """The state of one run.

    Attributes:
        status: done when its last stage is; failed when a stage failed; running when one is being worked on.
        stages: state of each of its stages, in order.
        error: of a failed run: ``{"kind", "class", "message", "stage", "key", "traceback"}``; the kind is a word of
            ``experiments.failures``.
        detail: a few words for people: which stage runs, how far it is, or what failed.
    """

    status: State
    stages: dict[str, State]
    error: dict[str, Any] | None = None
    detail: str = ""


def run_state(store: Store, run: Run) -> RunState:
    """Look a run up in the store."""
    stages = {stage: job_state(store, stage, key) for stage, key in run.stage_keys.items()}
    if all(state == "done" for state in stages.values()):
        return RunState("done", stages)
    for stage, state in stages.items():
        if state == "failed":
            key = run.stage_keys[stage]
            failure = store.failure(stage, key) or {}
            trace = failure.get("traceback")
            error = {
                "kind": classify(failure).name,
                "class": failure.get("class"),
                "message": failure.get("message"),
                "stage": stage,
                "key": key,
                "traceback": str(store.folder(stage, key) / trace) if trace else None,
            }
            return RunState("failed", stages, error, f"{stage} [{error['kind']}]: {error['class']}: {error['message']}")
    for stage, state in stages.items():
        if state == "running":
            body = store.read(stage, run.stage_keys[stage], PROGRESS) or {}
            step = f" {body['step']}/{body['total']}" if body.get("total") else ""
            return RunState("running", stages, None, f"{stage}{step}")
    done = sum(state == "done" for state in stages.values())
    return RunState("missing", stages, None, f"{done} of {len(stages)} stages done" if done else "")


@dataclass(frozen=True)
class StudyState:
    """The state of a whole study: jobs by stage and state, and every run."""

    study: str
    stages: dict[str, dict[State, int]]
    runs: list[tuple[Run, RunState]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "study": self.study,
            "stages": self.stages,
            "runs": [
                {
                    "arm": run.arm,
                    "seed": run.seed,
                    "status": state.status,
                    "stages": state.stages,
                    "detail": state.detail,
                    "error": state.error,
                    "command": run.command,
                }
                for run, state in self.runs
            ],
        }

    def render(self) -> str:
        """Two tables: stages by state, and runs."""
        width = max([len("stage"), *map(len, self.stages)])
        lines = [f"{'stage':<{width}}  " + "  ".join(f"{state:>7}" for state in STATES)]
        for stage, counts in self.stages.items():
            lines.append(f"{stage:<{width}}  " + "  ".join(f"{counts[state] or '·':>7}" for state in STATES))
        width = max([len("run"), *(len(run.name) for run, _ in self.runs)])
        lines += ["", f"{'run':<{width}}  {'state':<8} "]
        for run, state in self.runs:
            lines.append(f"{run.name:<{width}}  {state.status:<8} {_short(state.detail)}".rstrip())
        counts = Counter(state.status for _, state in self.runs)
        lines += ["", f"{self.study}: " + ", ".join(f"{counts[s]} {s}" for s in STATES if counts[s]) + " runs"]
        return "\n".join(lines)


def _short(text: str, width: int = 100) -> str:
    line = (text.splitlines() or [""])[0]
    return line if len(line) <= width else line[: width - 1] + "…"


def study_state(plan: Plan) -> StudyState:
    """Look a study up in the store."""
    store = Store(plan.runs_dir)
    stages: dict[str, dict[State, int]] = {stage: dict.fromkeys(STATES, 0) for stage in plan.stages}
    for stage, key in plan.jobs:
        stages[stage][job_state(store, stage, key)] += 1
    return StudyState(plan.study.name, stages, [(run, run_state(store, run)) for run in plan.runs])
