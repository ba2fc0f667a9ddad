"""Say what a study would run, before anything runs.

Arms and seeds, combinations left out and why, stages with what is shared and what is done already, expected time, and
the smallest difference that the study can detect. Changes nothing and needs no GPU.
"""

from __future__ import annotations

import argparse
import sys

from experiments.errors import LavitError

EXAMPLES = """\
examples:
  lavit plan study=quickstart
  lavit plan study=lavit_paper study.seeds=5      what two more seeds would cost and buy
  lavit plan study=quickstart llm=frozen          an axis narrowed to one level
  lavit plan study=quickstart scale=standard --probe      times by trying: some steps of each stage, here
  lavit plan study=quickstart --json | jq .stages
  lavit plan study=lavit_paper --pilot quickstart  detectable effects in the headline's own units
  lavit plan study=lavit_paper --budget 30m        the best sub-design that fits, and its command line
  lavit plan study=lavit_paper --freeze            written down before the first run; the report lists deviations
  lavit plan 'study=[quickstart,lavit_paper]'     several: the price of all, and what they share
  lavit plan study=quickstart --why                     why stages of the default arm would run again
  lavit plan study=quickstart --why llm=frozen seed=2   of another arm: config, code modules, seed, what it needs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument(
        "--probe", action="store_true", help="time some steps of stages that nothing finished tells the time of"
    )
    parser.add_argument("--json", action="store_true", help="the whole plan as JSON")
    parser.add_argument("--workers", type=int, metavar="N", help="cores to tell wall time for (default: all here)")
    parser.add_argument("--pilot", metavar="STUDY", help="take the between-seed SD of the headline from its results")
    parser.add_argument("--budget", metavar="TIME", help="propose the best sub-design for 2h, 90m, 1d of wall time")
    parser.add_argument("--freeze", action="store_true", help="write the plan down; the report lists deviations")
    parser.add_argument("--refreeze", metavar="REASON", help="write it down again, and record why")
    parser.add_argument("--allow", action="store_true", help="exit 0 though a term asked for is not estimable")
    parser.add_argument(
        "--why", metavar="ARM", nargs="?", const="", help="which part of its keys makes a stage of that arm run again"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the plan; 1 where the design cannot estimate what the study asks it to."""
    from experiments.cli.studies import config_dir, planned
    from experiments.processes import cores
    from experiments.render_plan import render_plan

    if arguments.why is not None:
        return _why(arguments)
    if arguments.workers is not None and arguments.workers < 1:
        raise LavitError(f"--workers {arguments.workers}: is no number of cores", "write 1 or more")
    if arguments.pilot:
        from experiments.axes import write_override

        arguments.overrides = [*arguments.overrides, write_override("study.power", {"pilot": arguments.pilot})]
    plan = planned(arguments, probe=arguments.probe)
    workers = arguments.workers or cores()
    if arguments.budget:
        from experiments.budget import propose, read_duration

        plan.budget = propose(plan, read_duration(arguments.budget), workers, config_dir(arguments))
    frozen = None
    if arguments.freeze or arguments.refreeze is not None:
        from experiments.freeze import freeze

        frozen = freeze(plan, arguments.refreeze)
    print(plan.to_json() if arguments.json else render_plan(plan, workers))
    if frozen is not None:
        print(frozen, file=sys.stderr)
    if plan.estimable is not None and plan.estimable.claimed_lost and not arguments.allow:
        lost = ", ".join(plan.estimable.claimed_lost)
        print(f"lavit: the design cannot estimate {lost}; --allow plans it all the same", file=sys.stderr)
        return 1
    return 0


def _why(arguments: argparse.Namespace) -> int:
    """Print why each stage of one run would run again."""
    import json

    from experiments.cli.studies import planned
    from experiments.why import explain, find_run, render_reasons

    arm: str = arguments.why
    if arm.startswith("study="):  # `--why study=NAME`: no arm was named
        arm, arguments.overrides = "", [arm, *arguments.overrides]
    seeds = [override.partition("=")[2] for override in arguments.overrides if override.startswith("seed=")]
    if any(not seed.isdigit() for seed in seeds):
        raise LavitError(f"--why: seed={seeds[-1]} is no seed", "name one of the study's, for example seed=0")
    arguments.overrides = [override for override in arguments.overrides if not override.startswith("seed=")]
    plan = planned(arguments, count=False)
    run = find_run(plan, arm, int(seeds[-1]) if seeds else None)
    reasons = explain(plan, run)
    document = {"arm": run.arm, "seed": run.seed, "stages": [reason.to_dict() for reason in reasons]}
    print(json.dumps(document, indent=1, ensure_ascii=False) if arguments.json else render_reasons(run, reasons))
    return 0
