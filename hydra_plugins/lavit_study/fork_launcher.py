"""`hydra/launcher=fork`: one forked process per stage job, from a server that has the heavy imports in memory."""

# No `from __future__ import annotations` here: Hydra executes plugin modules before they are in sys.modules, where
# dataclasses look the names of such annotations up.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ForkLauncherConf:
    """`hydra.launcher.*`.

    Attributes:
        n_jobs: jobs at once, one thread each; null for as many as there are devices, or, without any, cores.
        timeout_s: a job that takes longer is ended and counts as failed; null for no limit.
        devices: GPUs to share out, one a process of a job: how many, or a list of them; null for all that are there,
            0 for none. Without any, jobs share the cores.
    """

    _target_: str = "hydra_plugins.lavit_study.fork_launcher.ForkLauncher"
    n_jobs: int | None = None
    timeout_s: float | None = None
    devices: Any = None


ConfigStore.instance().store(group="hydra/launcher", name="fork", node=ForkLauncherConf, provider="lavit")


class ForkLauncher(Launcher):
    """Runs the stages of all jobs of a batch as one graph: what two jobs share is made once."""

    def __init__(self, n_jobs: int | None = None, timeout_s: float | None = None, devices: Any = None) -> None:
        self.n_jobs = n_jobs
        self.timeout_s = timeout_s
        self.devices = devices

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`launch`."""
        self.config: Any = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one arm per list of overrides (plain `lavit train -m`); a study gives its graph to a pool instead."""
        from experiments.main import run_arms

        return run_arms(job_overrides, self.config, self)
