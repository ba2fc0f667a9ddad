"""A study over fake stages, and workers for them."""

from __future__ import annotations

from pathlib import Path

from experiments.fork_pool import ForkPool
from experiments.plan import make_plan

HERE = Path(__file__).parent
CONF = HERE / "conf"


def fork(slots=2, **settings):
    """A pool of forked workers that have the fake stages and what they import in memory, as real ones have torch."""
    return ForkPool(slots, preload=["fake_stages", "pyarrow.parquet"], **settings)


def plan_tiny(runs, *overrides):
    """The plan of the test study, as the command line makes it (without counting parameters)."""
    return make_plan(["study=tiny", f"runs={runs}", *overrides], config_dir=CONF, count=False)


def take_slots(job, devices):
    """Let a job take several slots, though its stage is one process: real ones would start a process group."""
    request = {**job.request(), "devices": 1}
    job.devices = devices
    job.request = lambda: request
