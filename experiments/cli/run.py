"""Run what is missing of a study: every distinct stage once, as many at a time as there are cores, then the report.

Run the same command again after a crash, a reboot or Ctrl-C: finished stages are not repeated. One failed arm does not
stop the others; it is named at the end with the command that repeats it alone, and the exit code is 1.

This is Hydra multirun under the study sweeper, so Hydra's own settings work: hydra/launcher=joblib, submitit_slurm, ...
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit run study=quickstart
  lavit run study=quickstart scale=smoke                 seconds; the numbers mean nothing
  lavit run study=quickstart study.seeds=5               adds two seeds to what is there
  lavit run study=quickstart hydra.launcher.n_jobs=8     eight jobs at once, one thread each
  lavit run study=quickstart hydra/launcher=joblib
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Plan (so that mistakes are refused before any work), then hand over to Hydra."""
    from experiments.cli.studies import config_dir, require_study, split
    from experiments.main import planned, quoted, start_hydra

    folder = config_dir(arguments)
    overrides, hydra = split(arguments.overrides)
    require_study(overrides, folder)
    plan = planned(tuple(overrides), folder)
    asked = ",".join(map(quoted, overrides))
    where = f"runs={quoted(str(plan.runs_dir))}"
    start_hydra(["-m", "hydra/sweeper=study", f"hydra.sweeper.overrides=[{asked}]", where, *hydra], folder)
    return 0
