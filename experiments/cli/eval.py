"""Evaluate any checkpoint on a suite: a finished arm of the store, or LaVIT's imported weights.

The arm is named by a folder of the store (its cooldown or evaluate stage) or as study=NAME arm=ARM seed=N; imported
weights by the folder that `lavit import-official` wrote. Everything is checked before the model is loaded. What was
asked before an interruption is not asked again. Results go to runs/eval/CHECKPOINT/SUITE: records.parquet,
metrics.json, table.md, and what the numbers depend on.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit eval checkpoint=runs/official/LaVIT-7B-v2 suite=paper data.root=/data --device cuda
  lavit eval checkpoint=runs/official/LaVIT-7B-v2 suite=paper_lavit data.root=/data --benchmarks okvqa_lavit
  lavit eval checkpoint=runs/store/cooldown/f48baaa17d4533c2 suite=core
  lavit eval study=quickstart arm=llm=frozen seed=1 suite=held_out
  lavit eval checkpoint=DIR suite=paper data.root=/data --limit 8        a trial run, marked as one
  lavit eval --recompute runs/eval/LaVIT-7B-v2/paper                    metrics anew from the records, without the model

settings of imported weights: checkpoint.selection=sample|argmax, checkpoint.softmax=exact|policy,
checkpoint.pixels=low|high|none; see docs/eval-a-checkpoint.md.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--out", metavar="DIR", help="where results go (default: runs/eval/CHECKPOINT/SUITE)")
    parser.add_argument("--benchmarks", metavar="A,B", default="", help="these of the suite alone")
    parser.add_argument("--limit", metavar="N", type=int, help="at most N examples of each benchmark: a trial run")
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu (default), cuda, cuda:1")
    parser.add_argument("--recompute", metavar="DIR", help="metrics anew from a folder's records, without the model")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout, and nothing else")


def execute(arguments: argparse.Namespace) -> int:
    """Evaluate, and print the table."""
    import json
    import sys
    from pathlib import Path

    from experiments.errors import LavitError
    from experiments.eval_table import read_result, render
    from experiments.store import write_atomic

    if arguments.recompute is not None:
        from experiments.evaluation import recompute

        out = Path(arguments.recompute)
        if arguments.overrides:
            raise LavitError(f"--recompute takes a folder, not '{arguments.overrides[0]}' as well")
        recompute(out)
    else:
        from experiments.cli.studies import config_dir
        from experiments.eval_request import read_request
        from experiments.evaluation import run_evaluation
        from experiments.stop import end_on_signals

        wanted = [name for name in arguments.benchmarks.split(",") if name]
        request = read_request(arguments.overrides, config_dir(arguments), wanted, arguments.limit, arguments.device)
        out = Path(arguments.out) if arguments.out else request.default_out
        end_on_signals()
        if not run_evaluation(request, out):
            print(f"{out} holds this evaluation already", file=sys.stderr)
    result = read_result(out)
    write_atomic(out / "table.md", render(result, markdown=True, kinds=True))
    if arguments.json:
        print(json.dumps({"out": str(out), **result}, indent=1, ensure_ascii=False))
    else:
        print(f"{render(result)}\nresults    {out}")
    return 0
