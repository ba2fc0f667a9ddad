"""A launch of a fake study as a process of its own: what tests start side by side, or kill.

usage: python launch_study.py GATE RUNS OVERRIDE...    waits for the file GATE, then runs what is missing on two slots
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the packages beside these tests, wherever others are installed

from fake_study import CONF, fork

from experiments.driver import run_jobs
from experiments.plan import make_plan

if __name__ == "__main__":
    gate, runs, *overrides = sys.argv[1:]
    plan = make_plan([*overrides, f"runs={runs}"], config_dir=CONF, count=False)
    Path(f"{gate}.{len(list(Path(gate).parent.glob(f'{Path(gate).name}.*')))}").touch()
    while not Path(gate).exists():
        time.sleep(0.001)
    sys.exit(0 if run_jobs(plan, fork()).ok else 1)
