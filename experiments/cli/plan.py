"""Say what a study would run, before anything runs.

Arms and seeds, combinations left out and why, stages with what is shared and what is done already, expected time, and
the smallest difference that the study can detect. Changes nothing and needs no GPU.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit plan study=quickstart
  lavit plan study=lavit_paper study.seeds=5      what two more seeds would cost and buy
  lavit plan study=quickstart llm=frozen          an axis narrowed to one level
  lavit plan study=quickstart scale=standard --probe      times by trying: some steps of each stage, here
  lavit plan study=quickstart --json | jq .stages
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument(
        "--probe", action="store_true", help="time some steps of stages that nothing finished tells the time of"
    )
    parser.add_argument("--json", action="store_true", help="the whole plan as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    from experiments.cli.studies import planned

    plan = planned(arguments, probe=arguments.probe)
    print(plan.to_json() if arguments.json else plan.render())
    return 0
