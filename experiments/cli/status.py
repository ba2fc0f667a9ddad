"""Say how far a study is: each stage's jobs and each run, read from the store. Works while it runs, from anywhere."""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit status study=quickstart
  watch -n 5 lavit status study=quickstart
  lavit status study=quickstart --verify          also checks every finished file against its checksum
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--verify", action="store_true", help="check finished stages by checksum; exit 1 on a mismatch")


def execute(arguments: argparse.Namespace) -> int:
    """Print the state."""
    import json

    from experiments.cli.studies import planned
    from experiments.status import study_state
    from experiments.store import Store

    plan = planned(arguments, count=False)
    state = study_state(plan)
    store = Store(plan.runs_dir)
    done = [identity for identity in plan.jobs if store.is_done(*identity)]
    problems = [p for identity in done for p in store.verify(*identity)] if arguments.verify else []
    if arguments.json:
        print(json.dumps({**state.to_dict(), "problems": problems}, indent=1, ensure_ascii=False))
    else:
        print(state.render())
        for problem in problems:
            print(f"does not match its checksum: {problem}")
    return 1 if problems else 0
