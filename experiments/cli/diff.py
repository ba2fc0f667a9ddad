"""Say what tells two arms apart, from what was recorded when they ran.

A and B are arms of a collected study, [STUDY/]ARM[:SEED]; the last two arguments. Config leaves, code modules,
environment, ledgers, each metric's difference with its paired test, and the examples that changed most.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit diff study=quickstart default llm=frozen
  lavit diff study=quickstart default:0 default:1               two seeds of one arm
  lavit diff quickstart/default lavit_paper/default --examples 5
  lavit diff study=quickstart runs=/data/runs default llm=frozen --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="examples to show of each metric (3)")
    parser.add_argument("--json", action="store_true", help="the whole comparison as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Compare and print."""
    import json
    from pathlib import Path

    from experiments.cli.studies import config_dir
    from experiments.compose import compose
    from experiments.diff import diff, find_side, render
    from experiments.errors import LavitError

    overrides, (first, second) = arguments.overrides[:-2], ["", "", *arguments.overrides][-2:]
    if not first or not second or any(text.startswith(("study=", "runs=")) for text in (first, second)):
        raise LavitError(
            "diff needs two arms, A and B, as its last arguments",
            "for example lavit diff study=quickstart default llm=frozen",
        )
    studies = [override.partition("=")[2] for override in overrides if override.startswith("study=")]
    others = [override for override in overrides if not override.startswith("study=")]
    strange = [override for override in others if not override.startswith("runs=")]
    if strange:
        raise LavitError(f"diff reads what was recorded, so '{strange[0]}' changes nothing", "study= and runs= are all")
    runs = Path(compose(others, config_dir(arguments))["runs"])
    a, b = (find_side(runs, text, studies[-1] if studies else None) for text in (first, second))
    found = diff(runs, a, b, arguments.examples)
    print(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if arguments.json else render(found))
    return 0
