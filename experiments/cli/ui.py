"""Start the MLflow UI on the runs folder and open one of the study's saved views.

arms: one row per arm, averaged over its seeds; axes: every seed, by the levels of the axes; cost: what the arms took,
and quality against it; curves: losses and scores while training.

The page is served to this machine only. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit ui study=quickstart
  lavit ui study=quickstart --view cost
  lavit ui study=quickstart --port 5050 --no-browser
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)
    parser.add_argument("--port", type=int, default=5000, help="the first free port from here on is taken (5000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (127.0.0.1: this machine only)")
    parser.add_argument(
        "--view", choices=["arms", "axes", "cost", "curves"], default="arms", help="which to open (arms)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from experiments.cli.studies import config_dir
    from experiments.compose import compose
    from experiments.ui import serve

    overrides = [o for o in arguments.overrides if not o.startswith("study=")]
    study = next((o.removeprefix("study=") for o in arguments.overrides if o.startswith("study=")), None)
    config = compose(overrides, config_dir(arguments))
    browser = not arguments.no_browser
    return serve(config["runs"], study, arguments.host, arguments.port, browser, config.get("tracking"), arguments.view)
