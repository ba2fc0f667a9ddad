"""The Hydra application: what `-m` runs, by whichever sweeper and launcher, and what one Hydra job does.

`lavit run` is this application with `-m hydra/sweeper=study`; `lavit train -m` is it with Hydra's basic sweeper.
`python -m experiments.main -m hydra/sweeper=study study=quickstart` does the same as `lavit run study=quickstart`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.batch_pool import BatchPool
from experiments.compose import config_folder
from experiments.cost import Pricing
from experiments.driver import Launch, failure_text, finish, prepare, run_jobs
from experiments.errors import LavitError
from experiments.fork_pool import ForkPool
from experiments.launch import JobId
from experiments.plan import Plan, StageJob, single_arm_plan
from experiments.pool import Pool
from experiments.processes import cores
from experiments.union import make_plans, merge

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher


class RunFailed(LavitError):
    """A stage failed: told with its error, its log and the command that repeats it."""

    exit_code = 1


@lru_cache(maxsize=4)
def planned_each(overrides: tuple[str, ...], config_dir: Path | None = None) -> list[Plan]:
    """The plans of the studies that are named; the command line makes them first, to refuse mistakes, and the sweeper
    then finds them here."""
    return make_plans(overrides, config_dir=config_dir, count=False)  # running needs no parameter counts


@lru_cache(maxsize=4)
def planned(overrides: tuple[str, ...], config_dir: Path | None = None) -> Plan:
    """The plan of a study, or of several as one graph of jobs."""
    return merge(planned_each(overrides, config_dir))


def run_study(
    overrides: Sequence[str], config: DictConfig, launcher: Launcher, retry: Collection[str] | None = None
) -> Launch:
    """What the study sweeper does: plan, run what is missing on ``launcher``, collect, track, report.

    Of several studies (`study=[a,b]`) the stages are one graph, and each is then collected and reported by itself.

    Args:
        overrides: what is asked of the study.
        config: Hydra's config of the multirun.
        launcher: where jobs run.
        retry: kinds of earlier failure that are tried again; None for all.

    Raises:
        SystemExit: with code 1 where a run or the report is not complete, after everything else was done and told.
    """
    plan = planned(tuple(overrides), config_source(config.hydra))
    plans = planned_each(tuple(overrides), config_source(config.hydra))
    if plan.search is not None:
        return _run_search(plan, launcher, retry)
    if searches := [each.study.name for each in plans if each.search is not None]:
        raise LavitError(f"{searches[0]} is a search, which runs by itself", f"first lavit run study={searches[0]}")
    with Pricing(plan, plan.unpriced) as pricing:  # in the background: the report compares prices with costs
        launch = run_jobs(plan, pool_of(launcher, plan), retry=retry)
        plan.remarks.extend([problem] if (problem := pricing.finish()) else [])
    for identity, job in ((identity, job) for each in plans for identity, job in each.jobs.items()):
        job.counts = plan.jobs[identity].counts
    parts = [launch] if len(plans) == 1 else [Launch.of(each, launch.outcomes) for each in plans]
    reported = [finish(part) for part in parts]  # all of them, whatever one of them says
    if not (launch.ok and all(reported)):
        raise SystemExit(1)
    return launch


def _run_search(plan: Plan, launcher: Launcher, retry: Collection[str] | None) -> Launch:
    """Run a search round by round on one pool, and write down what it found."""
    from experiments.search_driver import finish_search, run_search

    pool = pool_of(launcher, plan)
    launch = run_search(plan, lambda batch: run_jobs(batch, pool, retry=retry))
    if not (finish_search(launch) and launch.ok):
        raise SystemExit(1)
    return launch


def chain_study(overrides: Sequence[str], config: DictConfig, launcher: Launcher) -> list[str]:
    """What the study sweeper does under ``--chain``: submit the study to Slurm and return the job numbers."""
    if type(launcher).__name__ != "SlurmLauncher":
        raise LavitError(
            "--chain submits to Slurm: it needs hydra/launcher=submitit_slurm", "pip install 'lavit-lab[slurm]'"
        )
    from experiments.chain import submit_chain

    folder = config_source(config.hydra)
    plan = planned(tuple(overrides), folder)
    prepare(plan)
    settings: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    return submit_chain(plan, settings, folder)


def _launch(launcher: Launcher, requests: Sequence[Path]) -> None:
    """One Hydra job per request; what comes back is not believed: the store tells what is done."""
    launcher.launch([[f"++job={quoted(str(request))}"] for request in requests], initial_job_idx=0)


def pool_of(launcher: Any, plan: Plan) -> Pool:
    """The pool that a Hydra launcher's settings stand for; a launcher that is not ours runs batch by batch."""
    modules = dict.fromkeys(job.run.rpartition(".")[0] for job in plan.jobs.values())
    kind = type(launcher).__name__
    if kind == "ForkLauncher":
        return ForkPool(launcher.n_jobs, launcher.timeout_s, modules, launcher.devices)
    if kind == "RayLauncher":
        from experiments.ray_pool import RayPool

        return RayPool(launcher.n_jobs, launcher.timeout_s, launcher.address)
    settings = {**getattr(launcher, "joblib", {}), **getattr(launcher, "params", {})}
    parallel = int(settings.get("n_jobs") or settings.get("array_parallelism") or cores())
    # submitit_local has no queue: it would start every job of a batch at the same moment.
    batch = cores() if kind == "LocalLauncher" else None
    return BatchPool(partial(_launch, launcher), parallel if parallel > 0 else cores(), batch)


def run_arms(batch: Sequence[Sequence[str]], config: DictConfig, launcher: Launcher) -> list[JobReturn]:
    """What the fork launcher does for a plain multirun: the arms of a batch as one graph, shared stages once."""
    from experiments.metrics_table import metrics_table

    plans = [single_arm_plan(list(overrides), config_dir=config_source(config.hydra)) for overrides in batch]
    names = [" ".join(o for o in overrides if not o.startswith("seed=")) or "default" for overrides in batch]
    graph: dict[JobId, StageJob] = {}
    for name, plan in zip(names, plans, strict=True):
        for identity, job in plan.jobs.items():
            graph.setdefault(identity, replace(job, runs=[])).runs.append((name, plan.runs[0].seed))
    union = replace(plans[0], jobs=graph, runs=[run for plan in plans for run in plan.runs])
    whole = run_jobs(union, pool_of(launcher, union))
    returns = []
    for overrides, plan in zip(batch, plans, strict=True):
        launch = Launch.of(plan, whole.outcomes)
        status = JobStatus.COMPLETED if launch.ok else JobStatus.FAILED
        returned = JobReturn(overrides=list(overrides), status=status)
        returned.return_value = None if launch.ok else RunFailed(failure_text(launch))
        returns.append(returned)
    print(metrics_table({" ".join(overrides) or "default": plan for overrides, plan in zip(batch, plans, strict=True)}))
    return returns


def run_here(overrides: Sequence[str], config_dir: Path | None = None) -> Launch:
    """Run one arm in this process, all its stages in order; a stage that another launch works on is waited for."""
    launch = run_jobs(single_arm_plan(list(overrides), config_dir=config_dir))
    if not launch.ok:
        raise RunFailed(failure_text(launch))
    return launch


def config_source(hydra_config: Any) -> Path | None:
    """The config folder that Hydra was started with; None for the one that ships with the packages."""
    for source in hydra_config.runtime.config_sources:
        if source.provider == "main" and source.schema == "file":
            path = Path(source.path)
            return None if path == config_folder() else path
    return None


@hydra.main(config_path=str(config_folder()), config_name="config", version_base="1.3")
def app(config: DictConfig) -> None:
    """One Hydra job: the stage that its ``job`` names, or, without one, the whole arm of its overrides."""
    if request := OmegaConf.select(config, "job"):
        from experiments.worker import attempt_in_log

        attempt_in_log(request)
        return
    hydra_config = HydraConfig.get()
    run_here(hydra_config.overrides.task, config_source(hydra_config))


def quoted(text: str) -> str:
    """Text as a value in Hydra's override grammar, with nothing in it interpolated."""
    text = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return "'" + text.replace("${", "\\${") + "'"


def start_hydra(arguments: Sequence[str], config_dir: Path | None = None) -> None:
    """Run the application with these command-line arguments; errors come out as exceptions, for one place to print.

    Args:
        arguments: as on a Hydra command line, e.g. ``["-m", "hydra/sweeper=study", "study=quickstart"]``.
        config_dir: another config folder than the one that ships with the packages.
    """
    where = ["--config-path", str(config_dir.absolute())] if config_dir is not None else []
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["lavit", *where, *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        app()
    except (HydraException, OmegaConfBaseException) as error:
        raise LavitError(str(error)) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]


if __name__ == "__main__":
    app()
