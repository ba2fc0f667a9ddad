"""Pre-training at a constant rate: the trunk from which cool-downs branch off."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from lavit.connectors.qformer import QFormer
from lavit.model.blocks import frozen_hashes
from lavit.stages import processes
from lavit.stages.arm import ArmModule, finish_arm
from lavit.stages.context import StageContext
from lavit.stages.processes import TrainerConfig
from lavit.stages.training import OptimizerConfig, TrainingError, fit, save_state


def curve_points(steps: int, points: int) -> list[int]:
    """Local steps at which the learning curve is measured: ``points`` of them, evenly, the last at the end."""
    return sorted({max(1, round(steps * (i + 1) / points)) for i in range(points)})


def optimizer_of(context: StageContext, **changes: object) -> OptimizerConfig:
    """The arm's AdamW."""
    fields = {**context.config.optimizer, **changes}
    return OptimizerConfig(**{**fields, "betas": tuple(fields["betas"])})


def branch_files(trunk: Path, step: int) -> tuple[Path, Path]:
    """Where a trunk's state at a global step lies, and the ledger of what it had spent by then."""
    return trunk / f"branch-{step}.safetensors", trunk / f"branch-{step}.json"


def check_frozen(module: ArmModule, before: Mapping[str, str]) -> None:
    """Raise unless every block that was not to learn has kept every bit.

    Args:
        module: after training.
        before: what :func:`lavit.model.blocks.frozen_hashes` gave before it.
    """
    after = frozen_hashes(module.model)
    for block, found in before.items():
        if after.get(block) != found:
            raise TrainingError(f"block {block}: frozen weights changed in training; this is a bug, please report it")


def run(context: StageContext) -> None:
    """Train an arm at a constant rate; writes the weights and the optimizer's moments for the cool-down."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    if "qformer" in context.inputs:
        assert isinstance(module.model.connector, QFormer)
        module.model.connector.begin_from(context.inputs["qformer"])
    train_phase(module, context)


def train_phase(module: ArmModule, context: StageContext) -> None:
    """Train a phase of an arm's recipe at a constant rate, with an optimizer of its own."""
    config = context.config
    before = frozen_hashes(module.model)
    span = module.recipe.span(module.phase.name)
    module.first_step = span.start
    steps = len(span)
    state: Path = context.out / "state.safetensors"
    branches = [int(step) for step in config.train.branches if span.start < step < span.stop]

    def keep(optimizer: torch.optim.Optimizer) -> None:
        save_state(state, module, optimizer, steps)

    def branch(done: int, optimizer: torch.optim.Optimizer) -> None:
        # Beside the resumable state, so that an interrupted stage still has it when it goes on after this step.
        saved, ledger = branch_files(context.out / "resume", span.start + done)
        save_state(saved, module, optimizer, done)
        if processes.first():
            module.final_ledger(done).write_to(ledger)

    fit(
        module,
        context,
        steps,
        optimizer_of(context),
        first_step=span.start,
        validate_at=curve_points(steps, max(1, round(config.train.curve.points * steps / config.train.steps))),
        precision=config.train.precision,
        on_finish=keep,
        keep_at=[step - span.start for step in branches],
        keep=branch,
        trainer_config=TrainerConfig.of(config.trainer),
        workers=config.train.workers,
    )
    check_frozen(module, before)
    if processes.first():
        for step in branches:
            kept, place = branch_files(context.out / "resume", step), branch_files(context.out, step)
            os.replace(kept[0], place[0])
            os.replace(kept[1], place[1])
    finish_arm(module, context, steps)
