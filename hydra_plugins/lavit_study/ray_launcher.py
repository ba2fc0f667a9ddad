"""`hydra/launcher=ray`: one Ray task per stage job, on this machine or on a cluster."""

# No `from __future__ import annotations` here: see fork_launcher.py.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayLauncherConf:
    """`hydra.launcher.*`.

    Attributes:
        n_jobs: jobs at once, one thread each; null for as many as the cluster has GPUs, or, without any, cores.
        timeout_s: a job that takes longer is ended and counts as failed; null for no limit.
        address: of a cluster that is there (`auto` finds it); null starts one on this machine for the launch.
    """

    _target_: str = "hydra_plugins.lavit_study.ray_launcher.RayLauncher"
    n_jobs: int | None = None
    timeout_s: float | None = None
    address: str | None = None


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="lavit")


class RayLauncher(Launcher):
    """Runs the stages of all jobs of a batch as one graph: what two jobs share is made once."""

    def __init__(self, n_jobs: int | None = None, timeout_s: float | None = None, address: str | None = None) -> None:
        self.n_jobs = n_jobs
        self.timeout_s = timeout_s
        self.address = address

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`launch`."""
        self.config: Any = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one arm per list of overrides (plain `lavit train -m`); a study gives its graph to a pool instead."""
        from experiments.main import run_arms

        return run_arms(job_overrides, self.config, self)
