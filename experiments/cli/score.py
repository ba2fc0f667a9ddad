"""Score a file of predictions by the official rules, without a model.

Whoever made the predictions: the files are those that the datasets' own evaluation servers take, plain or gzipped.
Totals go to stdout, what could not be computed and why to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.score.scored import Scored

EXAMPLES = """\
examples:
  lavit score vqa --questions Q.json --annotations A.json --predictions P.json --protocol official
  lavit score pope --questions coco_pope_random.json --predictions answers.jsonl --json
  lavit score KIND --help                                       what a kind reads, with examples

--json prints unrounded totals and nothing else; --records OUT.parquet writes one row an example.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the kind; its own arguments are declared when it is known."""
    from evals.score import kinds

    listed = "\n".join(f"  {name:<14}{line}" for name, line in kinds().items())
    parser.epilog = f"kinds:\n{listed}\n\n{EXAMPLES}"
    parser.add_argument("kind", nargs="?", metavar="KIND", help="what is scored, see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="`lavit score KIND --help` says what")
    parser.set_defaults(overrides=[])


def execute(arguments: argparse.Namespace) -> int:
    """Score and print; 0 where something was computed."""
    import importlib

    from evals.score import kinds
    from experiments.errors import LavitError, did_you_mean

    if arguments.kind not in kinds():
        problem = f"there is no kind '{arguments.kind}' to score" if arguments.kind else "score needs a kind"
        raise LavitError(problem, did_you_mean(arguments.kind or "", kinds()))
    implementation = importlib.import_module(f"evals.score.{arguments.kind}")
    parser = argparse.ArgumentParser(
        prog=f"lavit score {arguments.kind}",
        description=implementation.__doc__,
        epilog=implementation.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    implementation.configure(parser)
    parser.add_argument("--json", action="store_true", help="unrounded totals as JSON, and nothing else, on stdout")
    parser.add_argument("--records", metavar="OUT.parquet", help="write one row an example")
    place = parser.add_argument_group("a report's arm", "with --records: `lavit report --records` then takes the file")
    place.add_argument("--as-arm", metavar="NAME", help="of which arm these predictions are")
    place.add_argument("--as-study", metavar="NAME", help="of the study that the arm is in")
    place.add_argument("--as-seed", type=int, metavar="N", help="of the training run (default 0)")
    place.add_argument("--as-benchmark", metavar="NAME", help="its name in the study, e.g. coco (default: the kind)")
    place.add_argument("--as-split", metavar="NAME", help="the split that was predicted, e.g. test")
    asked, unknown = parser.parse_known_args(arguments.rest)
    if unknown:
        raise LavitError(
            f"lavit score {arguments.kind} does not take '{unknown[0]}'",
            f"`lavit score {arguments.kind} --help` lists what it takes",
        )
    _check_target(asked.records)
    _check_place(asked)
    with _stdout_to_stderr():
        scored: Scored = implementation.score(asked)
    return _tell(scored, asked)


def _check_target(records: str | None) -> None:
    """Refuse a target that cannot be written before the work, not after it."""
    from pathlib import Path

    from experiments.errors import LavitError

    if records is None:
        return
    target = Path(records)
    if target.is_dir() or target.suffix != ".parquet":
        raise LavitError(f"--records {records} does not name a .parquet file", "for example --records scores.parquet")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LavitError(f"--records {records}: {error}", "name a folder that can be written") from error


def _check_place(asked: argparse.Namespace) -> None:
    """An arm's records need all three of file, arm and study."""
    from experiments.errors import LavitError

    given = [
        name for name in ("arm", "study", "seed", "benchmark", "split") if getattr(asked, f"as_{name}") is not None
    ]
    if given and not asked.records:
        raise LavitError(
            f"--as-{given[0]} says where records belong, but none are written", "add --records OUT.parquet"
        )
    if ("arm" in given) != ("study" in given):
        raise LavitError("--as-arm and --as-study go together", "name both, as the report's study.yaml does")
    if "seed" in given and "arm" not in given:
        raise LavitError("--as-seed is of an arm's training run", "name the arm too: --as-arm NAME --as-study NAME")


def _tell(scored: Scored, asked: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    for name, reason in scored.missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    if asked.records is not None:
        from evals.records import save_records

        named = {"benchmark": asked.as_benchmark, "split": asked.as_split}
        moved = {name: value for name, value in named.items() if value is not None}
        records = [dataclasses.replace(record, **moved) for record in scored.records]
        whose = {"study": asked.as_study, "arm": asked.as_arm, "seed": asked.as_seed or 0}
        save_records(Path(asked.records), records, whose if asked.as_arm is not None else {})
    if asked.json:
        print(json.dumps(dict(scored.totals), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(render(scored)))
    return 0 if scored.totals else 1


def render(scored: Scored) -> list[str]:
    """The totals as an aligned table, then how they came about."""
    rows = list(_rows(scored.totals))
    width = max((len(name) for name, _ in rows), default=0) + 2
    lines = [f"{name:<{width}}{value:>12}".rstrip() for name, value in rows]
    return [*lines, "", *(f"{name}: {_short(value)}" for name, value in scored.fingerprint.items())]


def _rows(values: Mapping[str, Any], indent: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}", ""
            yield from _rows(value, indent + "  ")
        else:
            yield f"{indent}{name}", f"{value:.4f}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return str(value)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What libraries and their child processes print while scoring goes to stderr: stdout is for the result."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
