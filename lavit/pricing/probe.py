"""Seconds of a training step on this machine: some real steps over stand-in data, forward, backward and update."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lavit.errors import LavitError
from lavit.pricing.memory import memory
from lavit.pricing.trial import Config, Trial
from lavit.stages.training import OptimizerConfig

AT_MOST_S = 3.0  # of measured steps
LEAST = 3  # steps, however long they take
SHARE = 0.5  # of the machine's memory that a probe may take

Build = Callable[[Config, dict[str, Config], str], Trial]


def seconds_per_step(build: Build, config: Config, inputs: Mapping[str, Any]) -> float:
    """Median seconds of a step of a stage on one free core, its batch included.

    Raises:
        LavitError: the stage does not fit into this machine's memory.
    """
    needed = memory(build(config, dict(inputs), "meta")).get("peak", 0)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > SHARE * there:
        raise LavitError(
            f"a step takes {needed / 1e9:.0f} GB, this machine has {there / 1e9:.0f} GB: too large to probe here"
        )
    torch.manual_seed(0)
    trial = build(config, dict(inputs), "cpu")
    if not trial.steps:
        return 0.0
    module = trial.module
    module.optimizer_config = OptimizerConfig(lr=1e-4, method=trial.method, warmup=0)
    module.local_steps, module.local_start = max(1, trial.steps), 0
    optimizer = module.configure_optimizers()["optimizer"]
    times: list[float] = []
    first = trial.first_step + trial.steps // 2
    while len(times) <= LEAST or (sum(times[1:]) < AT_MOST_S and len(times) <= trial.steps):
        began = time.process_time()
        step = first + len(times)
        optimizer.zero_grad()
        module.loss(module.batch(step), step)[0].backward()
        optimizer.step()
        times.append(time.process_time() - began)
    return statistics.median(times[1:])  # the first one warms up
