"""Build the report of a study from what is finished: report.html, and the table as LaTeX, Markdown, HTML and CSV.

Works while the study runs; what is missing is marked so. A study of which the store here holds no finished run is
fetched from MLflow (tracking.uri), and so is any with --from-mlflow; only what is new is fetched. With --records it
needs neither store nor MLflow: DIR holds study.yaml (name, question, axes, arms, default, headline) and
records/*.parquet, made by whatever program (docs/reports.md has the columns).
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  lavit report study=quickstart
  lavit report study=quickstart --out paper/ablation
  lavit report study=quickstart tracking.uri=http://tracking.lab:5000      trained elsewhere, tracked there
  lavit report study=quickstart --from-mlflow           what MLflow has, whatever the store has
  lavit report --records results/ --out report/         records from anywhere
  lavit report --check paper/main.tex                   does a paper's table still follow from its runs?
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--records", metavar="DIR", help="report on DIR/study.yaml and DIR/records/*.parquet alone")
    parser.add_argument("--from-mlflow", action="store_true", help="report on the runs that MLflow has of the study")
    parser.add_argument(
        "--check", metavar="FILE.tex", nargs="+", help="make the tables in these files again; exit 1 where one differs"
    )
    parser.add_argument("--out", metavar="DIR", help="where to write it; by default into the study's folder")
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="all pictures on the page, or none; by default all but those of datasets, whose licence is their own",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Collect or fetch, build and print."""
    if arguments.check:
        return _check(arguments)
    out = Path(arguments.out) if arguments.out else None
    if arguments.records:
        return _from_records(Path(arguments.records), out or Path(arguments.records), arguments)
    if arguments.from_mlflow:
        return _from_mlflow(arguments, out)
    from experiments.cli.studies import planned
    from experiments.driver import show_report
    from experiments.results_source import study_results
    from experiments.tracking import report_or_say

    plan = planned(arguments, count=False)
    folder, fetched = study_results(plan)
    built = show_report(plan, folder, out, arguments.images)
    if built and out is None and not fetched:
        report_or_say(plan)
    return 0 if built else 1


def _from_mlflow(arguments: argparse.Namespace, out: Path | None) -> int:
    """Report on what MLflow has of a study, which need not be among the studies configured here."""
    from experiments.cli.studies import config_dir, require_study
    from experiments.compose import compose
    from experiments.driver import tell_report
    from experiments.fetch import fetch
    from experiments.results_source import tell
    from experiments.tracking_server import configured_uri
    from reports import build

    folder = config_dir(arguments)
    require_study(arguments.overrides, folder)
    name = next(o.removeprefix("study=") for o in arguments.overrides if o.startswith("study="))
    config = compose([o for o in arguments.overrides if not o.startswith("study")], folder)
    runs = Path(config["runs"]).absolute()
    found = fetch(name, runs, configured_uri(config.get("tracking"), runs))
    tell(found)
    tell_report(build(found.folder, out, images=arguments.images))
    return 0


def _from_records(records: Path, out: Path, arguments: argparse.Namespace) -> int:
    """Report on a folder of records, wherever they were made."""
    from experiments.driver import tell_report
    from experiments.errors import LavitError
    from reports import build

    if arguments.overrides:
        raise LavitError(
            f"--records takes its study from {records / 'study.yaml'}: '{arguments.overrides[0]}' would change nothing",
            "leave it out, or report on a study of this project without --records",
        )
    tell_report(build(records, out, images=arguments.images))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Make the tables of LaTeX files again, and say which no longer follow from their runs."""
    from reports.stale import check, tables_in

    status = 0
    for file in map(Path, arguments.check):
        for folder, tables in _by_study(tables_in(file), arguments).items():
            stale = {found.label: found for found in check(tables, folder)}
            for label in tables:
                print(f"{file}: {label}: {'no longer follows from its runs' if label in stale else 'up to date'}")
                for line in stale[label].changes if label in stale else ():
                    print(f"  {line}")
            status = 1 if stale else status
    return status


def _by_study(tables: dict[str, str], arguments: argparse.Namespace) -> dict[Path, dict[str, str]]:
    """Folder of a study, brought up to date -> those of the tables that are its own."""
    from experiments.cli.studies import planned
    from experiments.results_source import study_results
    from reports.stale import study_of

    if arguments.records:
        return {Path(arguments.records): tables}
    found: dict[str, dict[str, str]] = {}
    for label, environment in tables.items():
        found.setdefault(study_of(label, _studies(arguments.overrides)), {})[label] = environment
    further = [o for o in arguments.overrides if not o.startswith("study=")]
    folders = {}
    for name, own in found.items():
        asked = argparse.Namespace(overrides=[f"study={name}", *further], conf=arguments.conf)
        folders[study_results(planned(asked, count=False))[0]] = own
    return folders


def _studies(overrides: list[str]) -> list[str]:
    """Names of the studies that have a folder of results under the runs that are asked for."""
    runs = next((Path(o.partition("=")[2]) for o in overrides if o.startswith("runs=")), Path("runs"))
    named = [o.partition("=")[2] for o in overrides if o.startswith("study=")]
    return named or [path.parent.name for path in runs.glob("*/study.yaml")]
