"""The ``lavit`` command line. Nothing heavy is imported before a sub-command has to work."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from experiments.errors import LavitError, nearest

#: Sub-command -> (module that has `configure` and `execute`, one line of help), in the order of a user's day.
COMMANDS = {
    "plan": ("plan", "what a study would run, what it costs and what it can detect"),
    "run": ("run", "run what is missing of a study, then report"),
    "status": ("status", "what is done, running, failed or missing"),
    "report": ("report", "tables, figures and report.html from what is there"),
    "rejudge": ("rejudge", "judge a study's drawings again with another pixel decoder"),
    "train": ("train", "train and evaluate one arm; with -m, several"),
    "eval": ("eval", "evaluate any checkpoint, imported official weights included"),
    "ui": ("ui", "the MLflow UI, opened on the study's saved view"),
    "sync": ("sync", "bring MLflow up to date with the store"),
    "diff": ("diff", "what tells two arms apart: config, code, costs, metrics with test, examples that flipped"),
    "gc": ("gc", "remove what no study needs from the store, after asking"),
    "score": ("score", "score predictions that anyone made, by the official rules, without a model"),
    "lm-eval": ("lm_eval", "lm-evaluation-harness with this suite's models; all arguments are the harness's own"),
    "import-official": ("import_official", "bring LaVIT's released weights into this suite's format"),
}

EPILOG = """\
a study, from question to table:
  lavit plan   study=quickstart              before anything runs
  lavit run    study=quickstart              again after a crash: only what is missing runs
  lavit status study=quickstart
  lavit report study=quickstart
  lavit ui     study=quickstart

`lavit COMMAND --help` says more, with examples. Everything that is made lies under runs/ (runs=DIR moves it).
"""


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the sub-command that is about to run is filled in: ``--help`` imports next to nothing."""
    parser = argparse.ArgumentParser(
        prog="lavit",
        description="Ablations of vision-language pre-training: from a study file to a table with intervals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module, line) in COMMANDS.items():
        if name != only:
            commands.add_parser(name, help=line, add_help=False)
            continue
        implementation = importlib.import_module(f"experiments.cli.{module}")
        child = commands.add_parser(
            name,
            help=line,
            description=implementation.__doc__,
            epilog=implementation.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        implementation.configure(child)
        child.set_defaults(execute=implementation.execute)
    return parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The arguments that every sub-command takes: overrides, and another config folder."""
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="study=NAME, scale=NAME, llm=frozen, runs=DIR, ..."
    )
    parser.add_argument("--conf", metavar="DIR", help="a config folder other than the one that ships with lavit-lab")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 (something failed), 2 (a mistake in what was asked), 130."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except LavitError as error:
        print(f"lavit: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has seen enough
        return 0
    except Exception as error:
        model_errors = sys.modules.get("lavit.errors")  # the model's own error for the same purpose, if it is loaded
        if model_errors is None or not isinstance(error, model_errors.LavitError):
            raise
        print(f"lavit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        goes_on = arguments[:1] in (["run"], ["train"], ["eval"])
        again = "the same command goes on from there" if goes_on else "nothing was changed"
        code = getattr(stopped, "code", 130)  # of a signal, see experiments/stop.py
        print(
            f"\n{'Interrupted' if code == 130 else f'Ended by {stopped}'}. Finished stages are kept, unfinished ones "
            f"up to their last checkpoint: {again}.",
            file=sys.stderr,
        )
        return int(code)


def _dispatch(arguments: list[str]) -> int:
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command is not None and command not in COMMANDS and not arguments[0].startswith("-"):
        guess = nearest(command, COMMANDS)
        hint = f"did you mean 'lavit {guess}'?" if guess else "`lavit --help` lists them"
        raise LavitError(f"there is no command '{command}'", hint)
    parser = build_parser(command)
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"lavit-lab {version('lavit-lab')}")
        return 0
    if command is None:
        parser.print_help()
        return 0
    return int(_parse(parser, arguments).execute_())


class _Call(argparse.Namespace):
    """Parsed arguments that know what to do."""

    def execute_(self) -> int:
        """Run the sub-command; for several studies (`study=[a,b]`) as `experiments.cli.several` says."""
        if any(text.startswith("study=") and "," in text for text in getattr(self, "overrides", ())):
            from experiments.cli.several import execute

            return execute(self)
        return int(self.execute(self) or 0)


def _parse(parser: argparse.ArgumentParser, arguments: list[str]) -> _Call:
    parsed, unknown = parser.parse_known_args(arguments, namespace=_Call())
    strange = [argument for argument in unknown if argument.startswith("-")]
    if strange:
        raise LavitError(
            f"lavit {parsed.command} has no option '{strange[0]}'", f"`lavit {parsed.command} --help` lists what it has"
        )
    parsed.overrides = [*parsed.overrides, *unknown]
    return parsed
