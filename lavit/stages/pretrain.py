"""Pre-training at a constant rate: the trunk from which cool-downs branch off."""

from __future__ import annotations

from pathlib import Path

import torch

from lavit.model.lavit import weights_hash
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


def check_frozen(module: ArmModule, before: str) -> None:
    """Raise unless a frozen LLM has kept every bit."""
    if not module.config.llm.trainable and weights_hash(module.model.llm) != before:
        raise TrainingError("llm=frozen: the LLM's weights changed in training; this is a bug, please report it")


def run(context: StageContext) -> None:
    """Train an arm at a constant rate; writes the weights and the optimizer's moments for the cool-down."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    before = weights_hash(module.model.llm)
    steps = context.config.train.steps
    state: Path = context.out / "state.safetensors"

    def keep(optimizer: torch.optim.Optimizer) -> None:
        save_state(state, module, optimizer, steps)

    points = curve_points(steps, context.config.train.curve.points)
    fit(
        module,
        context,
        steps,
        optimizer_of(context),
        validate_at=points,
        precision=context.config.train.precision,
        on_finish=keep,
        trainer_config=TrainerConfig.of(context.config.trainer),
        workers=context.config.train.workers,
    )
    check_frozen(module, before)
    finish_arm(module, context, steps)
