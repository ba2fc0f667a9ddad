"""List what the store holds and no study needs, and remove it after asking.

Kept are all stages that a study folder names (runs.json, a frozen plan), those of the studies named here, those that
somebody works on, what was made or used in the last days (--older-than), and whatever these need.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.store import Store

EXAMPLES = """\
examples:
  lavit gc                                     lists, asks, removes
  lavit gc --dry-run                           only lists
  lavit gc study=lavit_paper scale=standard    keeps also what this study would use
  lavit gc --older-than 0d --yes               single runs (lavit train) of today as well, without asking
"""
UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--dry-run", action="store_true", help="list, remove nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="the list as JSON; removes nothing")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        default="7d",
        help="keep what was made or used since, though no study names it: 7d (default), 12h, 0d",
    )


def execute(arguments: argparse.Namespace) -> int:
    """List, ask, remove."""
    import json
    import sys
    from dataclasses import asdict

    from experiments.errors import LavitError
    from experiments.gc import remove, survey

    limit = seconds(arguments.older_than)
    store, planned = _wanted(arguments)
    found = survey(store, planned, limit)
    if arguments.json:
        numbers = {"young": len(found.young), "busy": len(found.busy), "needed": len(found.kept)}
        document = {"garbage": [asdict(item) for item in found.garbage], "bytes": found.bytes, "kept": numbers}
        print(json.dumps(document, indent=1))
        return 0
    for item in found.garbage:
        print(f"{size(item.bytes):>9}  {age(item.age_s):>5}  {item.stage:<10} {item.key}  {item.why}")
    kept = f"kept: {len(found.kept)} that studies need"
    kept += f", {len(found.young)} used within {arguments.older_than}" if found.young else ""
    kept += f", {len(found.busy)} at work" if found.busy else ""
    print(f"{len(found.garbage)} stages, {size(found.bytes)}, that no study needs ({kept})")
    if not found.garbage or arguments.dry_run:
        return 0
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise LavitError("nothing was removed: there is nobody to ask", "--yes removes without asking")
        if input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 0
    removed = [item for item in found.garbage if remove(store, item, limit)]
    print(f"{len(removed)} stages removed, {size(sum(item.bytes for item in removed))} freed")
    if left := len(found.garbage) - len(removed):
        print(f"{left} were taken up in the meantime and stay")
    return 0


def _wanted(arguments: argparse.Namespace) -> tuple[Store, set[tuple[str, str]]]:
    """The store, and what the studies on the command line would use."""
    from experiments.cli.studies import config_dir
    from experiments.compose import compose
    from experiments.plan import make_plan
    from experiments.store import Store

    folder = config_dir(arguments)
    named = [override for override in arguments.overrides if override.startswith("study=")]
    others = [override for override in arguments.overrides if not override.startswith("study=")]
    plans = [make_plan([study, *others], config_dir=folder, count=False) for study in named]
    runs = plans[0].runs_dir if plans else compose(others, folder)["runs"]
    return Store(runs), {identity for plan in plans for identity in plan.jobs}


def seconds(text: str) -> float:
    """Seconds of ``7d``, ``12h``, ``30m`` or ``2w``."""
    from experiments.errors import LavitError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text)
    if match is None:
        raise LavitError(f"--older-than {text}: not an age", "write a number and m, h, d or w, for example 7d")
    return float(match[1]) * UNITS[match[2]]


def size(count: float) -> str:
    """Bytes for people, in powers of 1000."""
    if count < 1000:
        return f"{count:.0f} B"
    power = min(3, len(f"{count:.0f}") // 3 - (len(f"{count:.0f}") % 3 == 0))
    return f"{count / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def age(passed: float) -> str:
    """Seconds for people: ``12 d``, ``3 h``, ``5 m``."""
    for unit in ("d", "h"):
        if passed >= UNITS[unit]:
            return f"{passed / UNITS[unit]:.0f} {unit}"
    return f"{passed / 60:.0f} m"
