"""A launch from end to end: a plan's missing stages are run, then what is there is collected, tracked and reported.

Used by the Hydra sweeper and launcher (``hydra_plugins/lavit_study``) and by ``lavit train``. Whatever happens in a
stage, in MLflow or in the report, what is finished stays finished, and the launch says what is missing and how to
get it.
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.dataset_files import check_dataset_files
from experiments.display import first_line, watcher
from experiments.errors import LavitError
from experiments.failures import classify
from experiments.launch import JobId, Outcome, check_store, run_graph
from experiments.plan import Plan, Run, StageJob
from experiments.pool import HerePool, Pool
from experiments.store import LOG, TRACEBACK, Store

if TYPE_CHECKING:
    from reports.report import ReportSummary


@dataclass
class Launch:
    """What a launch came to.

    Attributes:
        plan: what was wanted.
        outcomes: what became of each stage job.
        failures: runs that are not complete, each with the job that stopped it and its error.
    """

    plan: Plan
    outcomes: dict[JobId, Outcome]
    failures: list[tuple[Run, Outcome]] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan, outcomes: Mapping[JobId, Outcome]) -> Launch:
        """The launch of a plan whose jobs ended so; outcomes of other jobs are left out."""
        own = {identity: outcomes[identity] for identity in plan.jobs}
        return cls(plan, own, _failures(plan, own))

    @property
    def ok(self) -> bool:
        """Whether every run of the plan is complete."""
        return not self.failures

    @property
    def ran(self) -> int:
        """Jobs that were run in this launch."""
        return sum(outcome.status == "ran" for outcome in self.outcomes.values())


def run_jobs(plan: Plan, pool: Pool | None = None, quiet: bool = False, retry: Collection[str] | None = None) -> Launch:
    """Run what is missing of a plan on a pool (in this process where none is given).

    Args:
        plan: what is wanted.
        pool: where jobs run.
        quiet: show nothing.
        retry: kinds of failure of earlier launches (``experiments.failures``) that are tried again; None for all.
    """
    store = prepare(plan)
    pool = pool or HerePool()
    if any(not store.is_done(*identity) for identity in plan.jobs) and hasattr(pool, "warm"):
        pool.warm()
    look = None if quiet else watcher(store, plan.study.name)
    outcomes = run_graph(plan.jobs, store, pool, look, retry)
    return Launch.of(plan, outcomes)


def prepare(plan: Plan) -> Store:
    """Refuse what cannot work, before any work: the scale, the data, the disk; and withdraw what was altered."""
    if plan.planned_only:
        scale = next((job.scale for job in plan.jobs.values()), "?")
        raise LavitError(
            f"scale={scale} can be planned only: {plan.planned_only}", "`lavit plan` shows what it would be"
        )
    store = Store(plan.runs_dir)
    store.prepare()
    for problem in check_store(plan.jobs.values(), store):
        print(f"will be made again: {problem}", file=sys.stderr)
    store.mark_used(plan.jobs)
    _check_data([job for identity, job in plan.jobs.items() if not store.is_done(*identity)])
    return store


def _check_data(jobs: Sequence[StageJob]) -> None:
    """Read all data that missing jobs would read, once, so that a wrong row or image is told now and not in an hour."""
    for job in jobs:
        check_dataset_files(job.config)
    nodes = {json.dumps(job.config["data"], sort_keys=True): job.config["data"] for job in jobs if "data" in job.config}
    for node in nodes.values():
        from lavit import data

        try:
            data.check(node)
        except ValueError as error:
            raise LavitError(f"data: {error}", "the settings under `data` are in conf/data/") from error


def _failures(plan: Plan, outcomes: Mapping[JobId, Outcome]) -> list[tuple[Run, Outcome]]:
    """For each run that is not complete, the first job that stopped it."""
    failures = []
    for run in plan.runs:
        for identity in run.stage_keys.items():
            outcome = outcomes[identity]
            if outcome.status in ("failed", "blocked"):
                cause = outcomes[outcome.cause] if outcome.cause else outcome
                failures.append((run, cause))
                break
    return failures


def failure_text(launch: Launch) -> str:
    """The end of a launch in which something failed: each arm, its error, and the command that repeats it alone."""
    if launch.ok:
        return ""
    store = Store(launch.plan.runs_dir)
    lines = [f"{len(launch.failures)} of {len(launch.plan.runs)} runs are not complete; all others are done:"]
    struck = [outcome for outcome in launch.outcomes.values() if outcome.status == "failed"]
    if any(outcome.stopped for outcome in launch.outcomes.values()):
        error = struck[0].error or {}
        lines[0] = (
            f"Stopped: {struck[0].job.stage} failed in the first arms with the same error, {error.get('class')} at "
            f"{error.get('where')}, so nothing more was started. {lines[0]}"
        )
    for run, cause in launch.failures:
        error = cause.error or {}
        folder = store.folder(cause.job.stage, cause.job.key)
        lines += [
            f"  {run.name}: {cause.job.stage} failed: {error.get('class')}: {first_line(error.get('message', ''))}"
            + ("" if (kind := classify(error).name) == "bug" else f"  [{kind}]"),
            f"    {_account(folder)}",
            f"    repeat  {run.command}",
        ]
    return "\n".join(lines)


def _account(folder: Path) -> str:
    """Where the whole story of a failure stands: its traceback, or what the process printed before it was killed."""
    traceback = folder / TRACEBACK
    return f"details {traceback}" if traceback.is_file() else f"log     {folder / LOG}"


def finish(launch: Launch) -> bool:
    """Collect the study folder, bring MLflow up to date, build the report, and print what there is to see.

    Returns:
        Whether the report was built; a failure is told with what to do, and loses nothing.
    """
    from experiments.collect import collect, write_runs
    from experiments.tracking import report_or_say, sync_or_say
    from experiments.tracking_server import is_remote, tracking_uri

    plan = launch.plan
    folder = collect(plan)
    remote = is_remote(tracking_uri(plan))  # the report does not wait for a server
    built = remote and show_report(plan, folder)
    synced = sync_or_say(plan)
    if synced is not None and synced.added:
        write_runs(plan)  # now with MLflow's run ids
    built = built if remote else show_report(plan, folder)
    if synced is not None:
        report_or_say(plan)
        print(f"MLflow     {shlex.join(['lavit', 'ui', f'study={plan.study.name}', *runs_override(plan)])}")
    if text := failure_text(launch):
        print(f"\n{text}", flush=True)
    return built


def show_report(plan: Plan, folder: Path, out: Path | None = None, images: bool | None = None) -> bool:
    """Build the report of a collected study folder and print its table, what it found and where it lies."""
    if not any((folder / "records").glob("*.parquet")):
        print(f"no run of {plan.study.name} has records yet, so there is no report; what is there is in {folder}")
        return plan.records_stage is None  # a study that stops before there are records has nothing to report
    try:
        import reports

        summary = reports.build(folder, out, images=images)
    except Exception as error:
        (folder / "report-error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        command = shlex.join(["lavit", "report", *plan.overrides])
        print(
            f"The report could not be built: {type(error).__name__}: {first_line(str(error))}\n"
            f"  The results are in {folder}, the traceback is in {folder / 'report-error.txt'}; "
            f"`{command}` builds it again.",
            file=sys.stderr,
        )
        return False
    (folder / "report-error.txt").unlink(missing_ok=True)
    tell_report(summary)
    return True


def tell_report(summary: ReportSummary) -> None:
    """Print a report's table, what it found and where it lies."""
    print(f"\n{summary.console_table.rstrip()}")
    for finding in summary.findings:
        print(f"  {finding}")
    print(f"\nreport     {summary.html}")


def runs_override(plan: Plan) -> list[str]:
    """The ``runs=DIR`` and ``tracking.uri=URI`` of a plan's command line, for commands that repeat it."""
    return [override for override in plan.overrides if override.startswith(("runs=", "tracking."))]
