"""Bring MLflow up to date with the store: adds the runs that it does not have, changes nothing that it has.

MLflow is the database under the runs folder, or what tracking.uri names.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit sync study=quickstart
  lavit sync study=quickstart tracking.uri=http://tracking.lab:5000      a server that was away
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Sync and say what was added."""
    from experiments.cli.studies import planned
    from experiments.collect import write_runs
    from experiments.tracking import sync
    from experiments.tracking_server import tracking_uri

    plan = planned(arguments, count=False)
    synced = sync(plan, patient=True)
    if synced.added:
        write_runs(plan)
    print(f"{len(synced.added)} runs added, {len(synced.runs)} in {tracking_uri(plan)}")
    return 0
