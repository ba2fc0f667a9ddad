"""The plan: arms x seeds become a graph of distinct stage jobs, each addressed by its content key.

Nothing here imports torch: a plan is made in a second, before anything is paid for.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.design import Arm, Design
from experiments.match import Branch, MatchedArm
from experiments.pace import makespan
from experiments.power import Detectable
from experiments.rules import Rule
from experiments.stage_price import StagePrice, stage_price
from experiments.study import Study

if TYPE_CHECKING:
    from experiments.budget import Budget
    from experiments.designs.estimable import Estimable
    from experiments.offers import Offer
    from experiments.pilot import Pilot
    from experiments.search import Search


@dataclass
class StageJob:
    """One stage of one key: trained once, however many runs need it."""

    stage: str
    key: str  # 16 hex characters
    run: str  # dotted path of the function that does the work
    config: dict[str, Any]  # only the subtrees that the stage reads, resolved, void rules applied
    seed: int  # 0 where the stage is not seeded
    needs: dict[str, str]  # stage -> key of what must be finished first
    code: str  # code version: hash of the syntax trees that the stage imports
    scale: str  # name of the scale it was planned at (finished times are only comparable within one)
    overrides: list[str]  # what `lavit train` needs to make a run that has this job in it, `seed=` included
    runs: list[tuple[str, int]] = field(default_factory=list)  # (arm name, seed) that use it
    done: bool = False
    seconds: float | None = None  # expected wall time on one core; None where nothing is known
    seconds_from: str = ""  # "measured (n)" | "probed" | "rough" | ""
    counts: dict[str, Any] | None = None  # params_total, params_trainable, ledger, memory; None until priced
    devices: int = 1  # processes, and so device or core slots, that it takes
    reads: tuple[str, ...] = ()  # the dotted config keys that the stage declares

    @property
    def arms(self) -> list[str]:
        """Names of the arms that use this job, in order."""
        return list(dict.fromkeys(arm for arm, _ in self.runs))

    @property
    def ledger(self) -> dict[str, float]:
        """What its `ledger.json` is expected to hold; empty where it is not priced."""
        return dict((self.counts or {}).get("ledger") or {})

    @property
    def memory(self) -> dict[str, int]:
        """Bytes at the peak of a training step (`peak`) and what they are made of; empty where it is not priced."""
        return dict((self.counts or {}).get("memory") or {})

    def request(self) -> dict[str, Any]:
        """What is written as request.yaml before the job starts: enough to repeat it."""
        return {
            "stage": self.stage,
            "key": self.key,
            "run": self.run,
            "seed": self.seed,
            "scale": self.scale,
            "code": self.code,
            "devices": self.devices,
            "needs": self.needs,
            "overrides": self.overrides,
            "planned": {"seconds": self.seconds, "seconds_from": self.seconds_from},
            "reads": list(self.reads or self.config),
            "config": self.config,
        }


@dataclass
class Run:
    """One arm x one seed."""

    arm: str
    seed: int
    levels: dict[str, str]
    overrides: list[str]  # `lavit train` with these repeats this run alone
    config: dict[str, Any]  # the whole resolved config, void rules applied
    stage_keys: dict[str, str]  # stage -> key, in topological order
    records_stage: str | None = None  # the stage that leaves its records and metrics; None where it stops before one
    closed_stage: str | None = None  # the stage that it stops at, where a closing stage leaves its records

    @property
    def name(self) -> str:
        """`llm=frozen · seed 2`."""
        return f"{self.arm} · seed {self.seed}"

    @property
    def command(self) -> str:
        """The command line that repeats this run alone."""
        return shlex.join(["lavit", "train", *self.overrides])


@dataclass(frozen=True)
class StageSummary:
    """One line of the plan: what a stage costs over the whole study."""

    stage: str
    jobs: int  # distinct keys
    instead_of: int  # jobs if every run trained its own
    done: int
    seconds: float | None  # of all jobs on one core
    seconds_left: float | None  # of those that are not done
    basis: str  # where the times come from
    params: tuple[int, int] | None = None  # fewest and most parameters among its jobs
    price: StagePrice | None = None  # None until it is priced

    @property
    def shared(self) -> int:
        """Jobs that need not run because another run's serves."""
        return self.instead_of - self.jobs


@dataclass(frozen=True)
class Limit:
    """A rule that limits what the results of some arms say."""

    rule: str  # its id
    why: str
    arms: tuple[str, ...]

    def describe(self, arms: int) -> str:
        """`V15, llm=frozen: why`, with at most three arms by name.

        Args:
            arms: how many the study has.
        """
        listed = "; ".join(self.arms[:3]) + (f"; and {len(self.arms) - 3} more" if len(self.arms) > 3 else "")
        who = "every arm" if len(self.arms) == arms and arms > 1 else listed
        return f"rule {self.rule}, {who}: {self.why}"


@dataclass
class Plan:
    """Everything that is known before the first job starts."""

    study: Study
    design: Design
    runs: list[Run]
    jobs: dict[tuple[str, str], StageJob]  # (stage, key) -> job, in topological order
    stages: list[str]  # in topological order, `until` applied
    overrides: list[str]  # as given, without those for Hydra itself
    runs_dir: Path
    effects: list[Detectable] = field(default_factory=list)
    estimable: Estimable | None = None
    pilot: Pilot | None = None  # where the between-seed SD comes from
    alternatives: list[Offer] = field(default_factory=list)  # other designs of the same question
    budget: Budget | None = None  # what of it fits a budget, where one was named
    unpriced: list[str] = field(default_factory=list)  # keys that change no price
    branches: list[Branch] = field(default_factory=list)  # arms that are cooled down again at the budget of another
    matched: list[MatchedArm] = field(default_factory=list)  # what each arm came to, where the study matches budgets
    planned_only: str = ""  # why this scale can be planned but not run yet; "" where it can be run
    search: Search | None = None  # of a search: its arms and what was tried in them
    tuned: dict[str, str] = field(default_factory=dict)  # arm -> values that a search found for it, in words
    rules: tuple[Rule, ...] = ()  # those of the config folder that concern the stages of this plan
    limits: list[Limit] = field(default_factory=list)  # what the reader of these arms' results has to know
    remarks: list[str] = field(default_factory=list)  # what the reader should know: what is not counted, and why

    @property
    def arms(self) -> dict[str, Arm]:
        """Arm name -> arm, the default first."""
        return {arm.name: arm for arm in self.design.arms}

    @property
    def store_dir(self) -> Path:
        """The folder of finished stages."""
        return self.runs_dir / "store"

    @property
    def records_stage(self) -> str | None:
        """The stage that leaves the records of the report; None where the plan stops before there are any."""
        return self.runs[0].records_stage if self.runs else None

    @property
    def missing(self) -> list[StageJob]:
        """Jobs that are not done, in topological order."""
        return [job for job in self.jobs.values() if not job.done]

    def topological_waves(self, done: Collection[tuple[str, str]] = ()) -> list[list[StageJob]]:
        """Jobs in waves, without those that are done: all in a wave needs only what earlier waves made."""
        depth: dict[tuple[str, str], int] = {}
        waves: list[list[StageJob]] = []
        for identity, job in self.jobs.items():
            if identity in done:
                continue
            depth[identity] = max((depth[need] + 1 for need in job.needs.items() if need in depth), default=0)
            if len(waves) <= depth[identity]:
                waves.append([])
            waves[depth[identity]].append(job)
        return waves

    def stage_summaries(self) -> list[StageSummary]:
        """One line a stage that any run has, in topological order."""
        present = {job.stage for job in self.jobs.values()}
        return [self._summarise(stage) for stage in self.stages if stage in present]

    def seconds(self, left: bool = False) -> float | None:
        """Seconds of all jobs on one core (of those that are not done, with `left`); None where none is
        known."""
        return total_seconds([job for job in self.jobs.values() if not (left and job.done)])

    def seconds_unshared(self) -> float | None:
        """Seconds on one core if every run trained all its stages itself."""
        return total_seconds([job for job in self.jobs.values() for _ in job.runs])

    def wall_seconds(self, workers: int) -> float:
        """Wall seconds of what is not done on so many cores."""
        return makespan(self.jobs.values(), workers)

    def study_document(self) -> dict[str, Any]:
        """The study.yaml that is written beside the records for the report."""
        from experiments.study_document import study_document

        return study_document(self)

    def conditional_on(self) -> list[str]:
        """What every arm and seed shares, so that no conclusion reaches beyond it: one line each."""
        lines = []
        for stage in self.stages:
            jobs = [job for job in self.jobs.values() if job.stage == stage]
            if len(jobs) == 1 and len(self.runs) > 1:
                lines.append(f"one {stage} stage ({jobs[0].key[:8]}), made once and shared by every arm and seed")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The whole plan as plain data (the stages' configs apart: each job's request.yaml holds its own)."""
        return {
            "study": self.study_document(),
            "overrides": self.overrides,
            "runs_dir": str(self.runs_dir),
            "arms": [
                {
                    "name": a.name,
                    "slug": a.slug,
                    "levels": a.levels,
                    "overrides": list(a.overrides),
                    "note": a.note,
                }
                for a in self.design.arms
            ],
            "voids": [
                {"when": r.void.when, "why": r.void.why, "removed": len(r.arms), "kind": r.void.label}
                for r in self.design.removed
            ],
            "runs": [
                {"arm": run.arm, "seed": run.seed, "stage_keys": run.stage_keys, "command": run.command}
                for run in self.runs
            ],
            "jobs": [_job_document(job) for job in self.jobs.values()],
            "stages": [{**asdict(summary), "shared": summary.shared} for summary in self.stage_summaries()],
            "seconds": self.seconds(),
            "seconds_left": self.seconds(left=True),
            "seconds_unshared": self.seconds_unshared(),
            "detects": [asdict(effect) for effect in self.effects],
            "estimable": asdict(self.estimable) if self.estimable is not None else None,
            "pilot": asdict(self.pilot) if self.pilot is not None else None,
            "sd_seed": self.study.sd_seed,
            "alternatives": [{**asdict(other), "worst": other.worst} for other in self.alternatives],
            "budget": self.budget.to_dict() if self.budget is not None else None,
            "planned_only": self.planned_only,
            "remarks": self.remarks,
            "tuned": self.tuned,
            "search": self.search.document() if self.search is not None else None,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def render(self) -> str:
        """The plan for the console (100 columns)."""
        from experiments.render_plan import render_plan

        return render_plan(self)

    def _summarise(self, stage: str) -> StageSummary:
        jobs = [job for job in self.jobs.values() if job.stage == stage]
        bases = sorted({job.seconds_from for job in jobs if job.seconds_from})
        counts = [int(job.counts["params_total"]) for job in jobs if job.counts and job.counts.get("params_total")]
        return StageSummary(
            stage=stage,
            jobs=len(jobs),
            instead_of=sum(len(job.runs) for job in jobs),
            done=sum(job.done for job in jobs),
            seconds=total_seconds(jobs),
            seconds_left=total_seconds([job for job in jobs if not job.done]),
            basis=", ".join(bases),
            params=(min(counts), max(counts)) if counts else None,
            price=stage_price(jobs),
        )


def total_seconds(jobs: list[StageJob]) -> float | None:
    """Sum of the jobs' seconds; None as soon as one of them is not known."""
    times = [job.seconds for job in jobs]
    return None if any(time is None for time in times) else float(sum(time for time in times if time is not None))


def _job_document(job: StageJob) -> dict[str, Any]:
    return {
        "stage": job.stage,
        "key": job.key,
        "seed": job.seed,
        "needs": job.needs,
        "code": job.code,
        "arms": job.arms,
        "runs": len(job.runs),
        "done": job.done,
        "seconds": job.seconds,
        "seconds_from": job.seconds_from,
        "params_total": (job.counts or {}).get("params_total"),
        "params_trainable": (job.counts or {}).get("params_trainable"),
        "blocks": (job.counts or {}).get("blocks"),
        "ledger": job.ledger or None,
        "memory": job.memory or None,
        "overrides": job.overrides,
    }


def make_plan(
    overrides: list[str],
    runs_dir: Path | None = None,
    is_done: Callable[[str, str], bool] | None = None,
    config_dir: Path | None = None,
    count: bool = True,
    probe: bool = False,
) -> Plan:
    """Plan a study from command-line overrides (`study=quickstart scale=smoke llm=frozen runs=DIR`).

    Args:
        overrides: Hydra overrides; `study=NAME` is required, `study.KEY=VALUE` changes the study itself, an
            override of what an axis varies narrows it to that level, everything for Hydra itself is left out.
        runs_dir: the folder of all output; by default the config's `runs`.
        is_done: tells whether (stage, key) is finished; by default looked up in the store.
        config_dir: the Hydra config folder; by default the one that ships with the packages.
        count: whether to ask for prices that the store does not hold yet (a child process).
        probe: whether to time some steps of the stages of which nothing like them has finished (another one).
    """
    from experiments.planner import Planner

    return Planner(config_dir, runs_dir, is_done, count, probe).plan_study(overrides)


def single_arm_plan(
    overrides: list[str],
    runs_dir: Path | None = None,
    is_done: Callable[[str, str], bool] | None = None,
    config_dir: Path | None = None,
    count: bool = False,
) -> Plan:
    """Plan one run without a study: the arm that the overrides make at the config's `seed`.

    The study is named `train`, its one arm `default`. `study.until=STAGE` stops after that stage. The keys
    are the ones that the same run has inside a study, so nothing that a study made is made again.
    """
    from experiments.planner import Planner

    return Planner(config_dir, runs_dir, is_done, count).plan_run(overrides)
