"""Plan against actual: what stages were priced at before they ran, and what their ledgers measured.

Every distinct stage counts once, however many arms and seeds share it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from reports.budget import average, cost, own_stages
from reports.frame import Frame

TOLERANCE = 0.10  # larger differences are flagged
MATCHED = 0.05  # so are budgets that were to be equal and differ by more
EXAMPLES = ("examples_understanding", "examples_generation", "examples_text")
#: What is compared -> entries of a ledger, added up.
ITEMS: dict[str, tuple[str, ...]] = {
    "examples": EXAMPLES,
    "supervised text tokens": ("supervised_text_tokens",),
    "supervised visual positions": ("supervised_visual_positions",),
    "positions": ("positions",),
    "FLOPs": ("flops",),
    "parameters": ("params_total",),
    "trainable parameters": ("params_trainable",),
    "steps": ("steps",),
}
TOKENS = ("supervised_text_tokens", "supervised_visual_positions")
#: What budgets may be matched by -> entries of a ledger, added up.
MATCH_ITEMS = {"train_flops": ("flops",), "positions": ("positions",), "examples": EXAMPLES, "tokens": TOKENS}


@dataclass(frozen=True)
class Compared:
    """One thing of one stage: the sum over its jobs that were both planned and measured."""

    stage: str
    item: str
    planned: float
    measured: float
    jobs: int
    basis: str = ""  # where a planned time came from

    @property
    def difference(self) -> float:
        """Measured over planned, minus one."""
        return self.measured / self.planned - 1 if self.planned else math.inf

    @property
    def flagged(self) -> bool:
        """Whether it is further off than `TOLERANCE`."""
        return abs(self.difference) > TOLERANCE


@dataclass(frozen=True)
class Budget:
    """What an arm of a study of matched budgets spent, against the arm that the others were matched to."""

    arm: str
    planned: float  # residual of the plan: its total over the reference's, minus one
    measured: float

    @property
    def flagged(self) -> bool:
        """Whether it is further off than `MATCHED`."""
        return abs(self.measured) > MATCHED


def plan_against_actual(frame: Frame) -> list[Compared]:
    """Ledger entries and seconds of each stage; empty where no plan holds prices."""
    jobs = (frame.header.get("plan") or {}).get("jobs")
    planned = {(str(job["stage"]), str(job["key"])): job for job in jobs} if isinstance(jobs, list) else {}
    ledgers, seconds = _measured(frame)
    found: list[Compared] = []
    for stage in dict.fromkeys(stage for stage, _ in planned):
        own = [(job, ledgers.get(name), seconds.get(name)) for name, job in planned.items() if name[0] == stage]
        for item, entries in ITEMS.items():
            pairs = [
                (_total(job["ledger"], entries), _total(ledger, entries))
                for job, ledger, _ in own
                if job.get("ledger") and ledger
            ]
            if any(a or b for a, b in pairs):
                found.append(Compared(stage, item, sum(a for a, _ in pairs), sum(b for _, b in pairs), len(pairs)))
        times = [(job, took) for job, _, took in own if took is not None and _number(job.get("seconds_at_launch"))]
        if times:
            bases = sorted({str(job.get("seconds_at_launch_from", "")).split(" ")[0] for job, _ in times} - {""})
            expected = sum(float(job["seconds_at_launch"]) for job, _ in times)
            took_all = sum(took for _, took in times)
            found.append(Compared(stage, "seconds", expected, took_all, len(times), ", ".join(bases)))
    return found


def matched_budgets(frame: Frame) -> list[Budget]:
    """Measured budgets of the arms of a study that matches them, over the reference's; empty where it does not."""
    match = frame.study.extra.get("match")
    if not isinstance(match, dict) or match.get("by") not in MATCH_ITEMS or match.get("how", "steps") != "steps":
        return []
    arms = match.get("arms") or {}
    reference = frame.study.default if match.get("to", "default") == "default" else str(match["to"])
    spent = {arm: _spent(frame, arm, MATCH_ITEMS[match["by"]]) for arm in frame.arms}
    base = spent.get(reference, math.nan)
    return [
        Budget(arm, float((arms.get(arm) or {}).get("residual", math.nan)), total / base - 1)
        for arm, total in spent.items()
        if arm != reference and math.isfinite(total) and math.isfinite(base) and base
    ]


def _spent(frame: Frame, arm: str, entries: tuple[str, ...]) -> float:
    return sum(average(cost(frame, entry, own_stages(frame)).get(arm, {})) for entry in entries)


def _measured(frame: Frame) -> tuple[dict[tuple[str, str], dict[str, float]], dict[tuple[str, str], float]]:
    """(stage, key) -> its ledger, and its seconds."""
    entries = {
        (arm, seed, stage): dict(zip(rows["item"], rows["value"], strict=True))
        for (arm, seed, stage), rows in frame.ledgers.groupby(["arm", "seed", "stage"], sort=False)
    }
    ledgers, seconds = {}, {}
    for run in frame.runs.itertuples(index=False):
        for stage, key in run.stage_keys.items():
            if (run.arm, run.seed, stage) in entries:
                ledgers[stage, str(key)] = entries[run.arm, run.seed, stage]
            if stage in run.wall_s:
                seconds[stage, str(key)] = float(run.wall_s[stage])
    return ledgers, seconds


def _total(ledger: dict[str, Any], entries: tuple[str, ...]) -> float:
    return float(sum(ledger.get(entry) or 0.0 for entry in entries))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
