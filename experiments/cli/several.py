"""A command line that names several studies: `lavit COMMAND study=[a,b]`."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

from experiments.errors import LavitError

ONE_AFTER_ANOTHER = ("status", "report", "sync", "rejudge")


def execute(arguments: argparse.Namespace) -> int:
    """Plan and run them as one; whatever else there is to do is done for one study after another."""
    from experiments.union import overrides_of, study_names

    names, command = study_names(arguments.overrides), arguments.command
    if command == "plan":
        return _plan(arguments)
    if command == "run" or len(names) == 1:
        return int(arguments.execute(arguments) or 0)
    if command == "gc":
        arguments.overrides = [f"study={name}" for name in names] + overrides_of(arguments.overrides, "")[1:]
        return int(arguments.execute(arguments) or 0)
    if command not in ONE_AFTER_ANOTHER:
        raise LavitError(f"lavit {command} takes one study at a time", f"write study={names[0]}")
    codes = []
    for name in names:
        one = copy.copy(arguments)
        one.overrides = overrides_of(arguments.overrides, name)
        if getattr(arguments, "out", None):
            one.out = str(Path(arguments.out) / name)
        codes.append(int(one.execute(one) or 0))
    return max(codes)


def _plan(arguments: argparse.Namespace) -> int:
    from experiments.cli.studies import config_dir
    from experiments.union import make_plans, render_union, union_json

    given = {name: value for name, value in vars(arguments).items() if value not in (None, False)}
    if extra := given.keys() - {"command", "execute", "overrides", "conf", "json"}:
        raise LavitError(f"--{min(extra)} takes one study at a time", "name one study: study=NAME")
    plans = make_plans(arguments.overrides, config_dir=config_dir(arguments))
    print(union_json(plans) if arguments.json else render_union(plans))
    return 0
