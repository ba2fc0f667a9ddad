"""`hydra/sweeper=study`: a multirun is a study; its jobs are the distinct stages that are missing in the store."""

# No `from __future__ import annotations` here: see fork_launcher.py.
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StudySweeperConf:
    """`hydra.sweeper.*`.

    Attributes:
        overrides: what is asked of the study, where that is not the command line's own overrides: `lavit run` puts
            it here, because a study takes keys that a plain composition refuses (study.until, an axis' level).
        retry: kinds of failure of earlier launches that are tried again (`lavit run --retry`); null for all.
        chain: submit the study to Slurm as arrays that wait for each other (`lavit run --chain`).
    """

    _target_: str = "hydra_plugins.lavit_study.study_sweeper.StudySweeper"
    overrides: list[str] | None = None
    retry: str | None = None
    chain: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="lavit")


class StudySweeper(Sweeper):
    """Plans the study that the overrides name, runs what is missing on the launcher, then collects and reports."""

    def __init__(self, overrides: list[str] | None = None, retry: str | None = None, chain: bool = False) -> None:
        self.overrides = overrides
        self.retry = retry
        self.chain = chain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`sweep`."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study; ends with exit code 1 where a run is not complete."""
        from experiments.failures import parse_retry
        from experiments.main import chain_study, run_study

        assert self.config is not None
        overrides = arguments if self.overrides is None else list(self.overrides)
        if self.chain:
            return chain_study(overrides, self.config, self.launcher)
        return run_study(overrides, self.config, self.launcher, parse_retry(self.retry))
