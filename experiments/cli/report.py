"""Build the report of a study from what is finished: report.html, and the table as LaTeX, Markdown, HTML and CSV.

Works while the study runs; what is missing is marked so. With --records it needs neither store nor MLflow: DIR holds
study.yaml (name, question, axes, arms, default, headline) and records/*.parquet, made by whatever program
(docs/reports.md has the columns).
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  lavit report study=quickstart
  lavit report study=quickstart --out paper/ablation
  lavit report --records results/ --out report/         records from anywhere
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--records", metavar="DIR", help="report on DIR/study.yaml and DIR/records/*.parquet alone")
    parser.add_argument("--out", metavar="DIR", help="where to write it; by default into the study's folder")


def execute(arguments: argparse.Namespace) -> int:
    """Collect, build and print."""
    from experiments.cli.studies import planned
    from experiments.collect import collect
    from experiments.driver import show_report

    if arguments.records:
        return _from_records(Path(arguments.records), Path(arguments.out or arguments.records), arguments.overrides)
    plan = planned(arguments, count=False)
    folder = collect(plan)
    return 0 if show_report(plan, folder, Path(arguments.out) if arguments.out else None) else 1


def _from_records(records: Path, out: Path, overrides: list[str]) -> int:
    """Report on a folder of records, wherever they were made."""
    from experiments.errors import LavitError
    from reports import build

    if overrides:
        raise LavitError(
            f"--records takes its study from {records / 'study.yaml'}: '{overrides[0]}' would change nothing",
            "leave it out, or report on a study of this project without --records",
        )
    summary = build(records, out)
    print(summary.console_table)
    for sentence in summary.findings:
        print(f"- {sentence}")
    print(f"\nreport     {summary.html}")
    return 0
