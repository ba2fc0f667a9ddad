"""Run what is missing of a study: every distinct stage once, as many at a time as there are cores, then the report.

Run the same command again after a crash, a reboot or Ctrl-C: finished stages are not repeated. One failed arm does not
stop the others; it is named at the end with the command that repeats it alone, and the exit code is 1. The same error
in the first two arms stops the study. SIGTERM and SIGUSR1 make every stage save where it is.

This is Hydra multirun under the study sweeper, so Hydra's own settings work: hydra/launcher=fork (the default), joblib,
submitit_local, submitit_slurm, ray. docs/running.md has launchers, devices, failures and signals.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit run study=quickstart
  lavit run study=quickstart scale=smoke                 seconds; the numbers mean nothing
  lavit run study=quickstart study.seeds=5               adds two seeds to what is there
  lavit run study=quickstart hydra.launcher.n_jobs=8     eight jobs at once, one thread each
  lavit run study=quickstart hydra.launcher.devices=[0,1]      two GPUs, one job each (by default: all that are there)
  lavit run study=quickstart hydra/launcher=ray hydra.launcher.address=auto
  lavit run study=quickstart hydra/launcher=submitit_slurm hydra.launcher.partition=gpu --chain
  lavit run study=quickstart --retry oom,lost                  of what failed before, only these kinds again
  lavit run 'study=[quickstart,lavit_paper]'             what they share is run once; a report for each
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument(
        "--retry",
        metavar="KINDS",
        help="what failed earlier and is tried again: bug, oom, nan, timeout, lost; failed (all, the default) or none",
    )
    parser.add_argument(
        "--chain",
        action="store_true",
        help="submit the whole study to Slurm as arrays that wait for each other, and return at once",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Plan (so that mistakes are refused before any work), then hand over to Hydra."""
    from experiments.cli.studies import config_dir, require_study, split
    from experiments.failures import parse_retry
    from experiments.main import planned, quoted, start_hydra
    from experiments.stop import end_on_signals

    folder = config_dir(arguments)
    overrides, hydra = split(arguments.overrides)
    require_study(overrides, folder)
    parse_retry(arguments.retry)
    plan = planned(tuple(overrides), folder)
    asked = ",".join(map(quoted, overrides))
    where = f"runs={quoted(str(plan.runs_dir))}"
    sweeper = ["hydra/sweeper=study", f"hydra.sweeper.overrides=[{asked}]"]
    if arguments.retry is not None:
        sweeper.append(f"hydra.sweeper.retry={quoted(arguments.retry)}")
    if arguments.chain:
        sweeper.append("hydra.sweeper.chain=true")
    end_on_signals()
    start_hydra(["-m", *sweeper, where, *hydra], folder)
    return 0
