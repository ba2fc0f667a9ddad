"""Train and evaluate one arm: the levels that you name, everything else at its default.

All its stages run in order, in this process; a stage that the store has is not repeated. With -m it is plain Hydra
multirun: every combination of the listed values is an arm.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit train
  lavit train tokens=fixed target=discrete seed=1
  lavit train scale=smoke study.until=pretrain
  lavit train -m tokens=fixed,dynamic seed=0,1
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="Hydra multirun: KEY=A,B makes an arm of each value"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the arm, or hand several over to Hydra."""
    from experiments.cli.studies import config_dir, split
    from experiments.main import run_here, start_hydra
    from experiments.metrics_table import metrics_table
    from experiments.stop import end_on_signals

    folder = config_dir(arguments)
    end_on_signals()
    if arguments.multirun:
        start_hydra(["-m", *arguments.overrides], folder)
        return 0
    overrides, _ = split(arguments.overrides)
    launch = run_here(overrides, folder)
    print(metrics_table({" ".join(overrides) or "default": launch.plan}))
    return 0
