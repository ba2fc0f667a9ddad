"""The plan: arms x seeds become a graph of distinct stage jobs, each addressed by its content key.

Nothing here imports torch: a plan is made in a second, before anything is paid for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.design import Arm, Design
from experiments.study import Study

IsDone = Callable[[str, str], bool]


@dataclass
class StageJob:
    """One stage of one key: trained once, however many runs need it."""

    stage: str
    key: str  # 16 hex characters
    run: str  # dotted path of the function that does the work
    config: dict[str, Any]  # only the subtrees that the stage reads, resolved, canonical drops applied
    seed: int  # 0 where the stage is not seeded
    needs: dict[str, str]  # stage -> key of what must be finished first
    code: str  # code version: hash of the syntax trees that the stage imports
    scale: str  # name of the scale it was planned at (finished times are only comparable within one)
    overrides: list[str]  # what `lavit train` needs to make a run that has this job in it, `seed=` included
    runs: list[tuple[str, int]] = field(default_factory=list)  # (arm name, seed) that use it
    done: bool = False
    seconds: float | None = None  # expected wall time on one core; None where nothing is known
    seconds_from: str = ""  # "measured (n)" | "rough" | ""
    counts: dict[str, Any] | None = None  # params_total, params_trainable, flops_per_step; None until counted

    @property
    def arms(self) -> list[str]:
        """Names of the arms that use this job, in order."""
        return list(dict.fromkeys(arm for arm, _ in self.runs))

    def request(self) -> dict[str, Any]:
        """What is written as request.yaml before the job starts: enough to repeat it."""
        return {
            "stage": self.stage,
            "key": self.key,
            "run": self.run,
            "seed": self.seed,
            "scale": self.scale,
            "code": self.code,
            "needs": self.needs,
            "overrides": self.overrides,
            "config": self.config,
        }


@dataclass
class Run:
    """One arm x one seed."""

    arm: str
    seed: int
    levels: dict[str, str]
    overrides: list[str]  # `lavit train` with these repeats this run alone
    config: dict[str, Any]  # the whole resolved config, canonical drops applied
    stage_keys: dict[str, str]  # stage -> key, in topological order

    @property
    def name(self) -> str:
        """`llm=frozen · seed 2`."""
        return f"{self.arm} · seed {self.seed}"

    @property
    def command(self) -> str:
        """The command line that repeats this run alone."""
        import shlex

        return shlex.join(["lavit", "train", *self.overrides])


@dataclass
class Plan:
    """Everything that is known before the first job starts."""

    study: Study
    design: Design
    runs: list[Run]
    jobs: dict[tuple[str, str], StageJob]  # (stage, key) -> job, in topological order
    stages: list[str]  # in topological order, `until` applied
    overrides: list[str]
    runs_dir: Path

    @property
    def arms(self) -> dict[str, Arm]:
        """Arm name -> arm, the default first."""
        return {arm.name: arm for arm in self.design.arms}

    def topological_waves(self) -> list[list[StageJob]]:
        """Jobs in waves: everything in a wave needs only what earlier waves made."""
        raise NotImplementedError

    def study_document(self) -> dict[str, Any]:
        """The study.yaml that is written beside the records for the report."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The whole plan as plain data."""
        raise NotImplementedError

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def render(self) -> str:
        """The plan for the console (100 columns)."""
        from experiments.render_plan import render_plan

        return render_plan(self)


def make_plan(
    overrides: list[str],
    runs_dir: Path | None = None,
    is_done: IsDone | None = None,
    config_dir: Path | None = None,
    count: bool = True,
) -> Plan:
    """Plan a study from command-line overrides (`study=quickstart scale=smoke llm=frozen runs=DIR`).

    Args:
        overrides: Hydra overrides; `study=NAME` is required, `study.KEY=VALUE` changes the study itself, an override of
            an axis narrows it to that level, everything under `hydra` is ignored.
        runs_dir: the folder of all output; by default the config's `runs`.
        is_done: tells whether (stage, key) is finished; by default looked up in the store.
        config_dir: the Hydra config folder; by default the one that ships with the package.
        count: whether to ask for parameter counts (a child process the first time).
    """
    raise NotImplementedError


def single_arm_plan(
    overrides: list[str],
    runs_dir: Path | None = None,
    is_done: IsDone | None = None,
    config_dir: Path | None = None,
    count: bool = False,
) -> Plan:
    """Plan one run without a study: the arm that the overrides make, at the config's `seed`; the study is named `train`."""
    raise NotImplementedError
