"""Build the report of a study from what is finished: report.html, and the table as LaTeX, Markdown, HTML and CSV.

Works while the study runs; what is missing is marked so.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit report study=quickstart
  lavit report study=quickstart --out paper/ablation
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--out", metavar="DIR", help="where to write it; by default into the study's folder")


def execute(arguments: argparse.Namespace) -> int:
    """Collect, build and print."""
    from pathlib import Path

    from experiments.cli.studies import planned
    from experiments.collect import collect
    from experiments.driver import show_report

    plan = planned(arguments, count=False)
    folder = collect(plan)
    return 0 if show_report(plan, folder, Path(arguments.out) if arguments.out else None) else 1
