"""Judge the drawings of a study again with another pixel decoder: pixels=LEVEL is trained (or found) and paints them.

No arm is run again, and nothing in the store changes. Only finished runs count; run it again when there are more. The
table shows each arm's scores with this decoder beside the study's own, and the ceiling with both.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit rejudge study=quickstart pixels=unet
  lavit rejudge study=quickstart pixels=unet pixels.decoder.steps=16
  lavit rejudge study=quickstart scale=smoke pixels=unet        overrides of the study as it was run
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from experiments.cli import add_overrides

    add_overrides(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Train what is missing, judge, print the table."""
    from experiments.cli.studies import config_dir, planned
    from experiments.rejudge import decoder_name, rejudge_study, split_decoder
    from experiments.store import write_atomic

    arguments.overrides, decoder = split_decoder(arguments.overrides)
    plan = planned(arguments, count=False)
    folder = rejudge_study(plan, decoder, config_dir(arguments))

    from reports.rejudged import rejudged_table
    from reports.render.console import render_console
    from reports.render.csv import render_csv
    from reports.render.markdown import render_markdown

    table = rejudged_table(folder, decoder_name(decoder))
    write_atomic(folder / "table.md", render_markdown(table))
    write_atomic(folder / "table.csv", render_csv(table))
    print(f"\n{render_console(table).rstrip()}\n\ntable      {folder / 'table.md'}")
    return 0
