"""lm-evaluation-harness with this suite's models: everything behind `lavit lm-eval` is the harness's own command line.

Its model `lavit` (taken where no --model is named) is opened by --model_args:
  checkpoint=DIR    an arm (runs/store/cooldown/KEY) or imported official weights (runs/official/NAME)
  pretrained=DIR    a transformers folder with a causal language model
  vision=False      leaves all images out; further: max_length, max_gen_toks, dtype

Tasks with images (doc_to_image) run too. Nothing is asked of the network; --online lets datasets be downloaded.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit lm-eval --model_args checkpoint=runs/store/cooldown/KEY --tasks my_task --include_path DIR
  lavit lm-eval --model_args pretrained=DIR --tasks my_task --include_path DIR --output_path results --log_samples
  lavit lm-eval ls tasks                          the tasks that lm-eval brings along
  lavit lm-eval run --help                        what follows below, at length
"""

_COMMANDS = ("run", "ls", "validate")


def configure(parser: argparse.ArgumentParser) -> None:
    """Take every argument as it is, `--help` included: they are another program's."""
    parser.prefix_chars = "\0"  # nothing looks like an option of ours
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(overrides=[], parser=parser)


def execute(arguments: argparse.Namespace) -> int:
    """Register the model and hand over."""
    given = list(arguments.arguments)
    if not given or given[0] in ("-h", "--help"):
        print(f"usage: lavit lm-eval [run|ls|validate] ...\n\n{__doc__}\n{EXAMPLES}")
        raise SystemExit(0)

    import os

    from evals.harness.offline import OFFLINE, require_lm_eval, stay_offline

    require_lm_eval()
    if "--online" in given:
        given.remove("--online")
        os.environ.update({name: "0" for name in OFFLINE if name.endswith("_OFFLINE")})
    stay_offline()
    return _hand_over(given)


def _hand_over(given: list[str]) -> int:
    import sys
    from functools import partial

    import lm_eval.models  # names the harness's own models, which stay available
    import lm_eval.tasks
    from lm_eval.__main__ import cli_evaluate

    import evals.harness.model  # noqa: F401  (registers `lavit`)

    all_tasks = lm_eval.tasks.TaskManager
    if given[0] not in _COMMANDS:
        given.insert(0, "run")
    if given[0] == "run" and not {"-h", "--help", "--config", "-C"} & set(given):
        if not any(argument.split("=")[0] in ("--model", "-M") for argument in given):
            given[1:1] = ["--model", "lavit"]
        if not any(argument.split("=")[0] in ("--batch_size", "-b") for argument in given):
            given[1:1] = ["--batch_size", "64"]  # the harness' own default is 1
        own = _names(given, "--tasks", "-t")
        folders = _names(given, "--include_path")
        if own and folders:
            from evals.harness.tasks import find_tasks

            manager = find_tasks(own, folders[0])
            if all(name in manager.all_tasks for name in own) and not manager.has_defaults:
                # The harness would look through its own tasks as well, for a quarter of a minute.
                lm_eval.tasks.TaskManager = partial(all_tasks, include_defaults=False)
    before = sys.argv
    sys.argv = ["lavit lm-eval", *given]
    try:
        cli_evaluate()
    finally:
        sys.argv, lm_eval.tasks.TaskManager = before, all_tasks
    return 0


def _names(given: list[str], *options: str) -> list[str]:
    """Values of an option of the harness, which may be repeated, joined by commas or by blanks."""
    values: list[str] = []
    open_ = False
    for argument in given:
        name, _, value = argument.partition("=")
        if name in options:
            open_ = True
            values += value.split(",") if value else []
        elif argument.startswith("-"):
            open_ = False
        elif open_:
            values += argument.split(",")
    return [value for value in values if value]
