"""Bring MLflow up to date with the store: adds the runs that it does not have, changes nothing that it has."""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit sync study=quickstart
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Sync and say what was added."""
    from experiments.cli.studies import planned
    from experiments.collect import write_runs
    from experiments.tracking import database, sync

    plan = planned(arguments, count=False)
    synced = sync(plan)
    if synced.added:
        write_runs(plan)
    print(f"{len(synced.added)} runs added, {len(synced.runs)} in {database(plan.runs_dir)}")
    return 0
