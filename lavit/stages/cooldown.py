"""Cool-down: the trunk's weights and moments, the rate going linearly to zero, the data going on where they were."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from lavit.model.blocks import frozen_hashes
from lavit.stages.arm import ArmModule, finish_arm, inherit_counts
from lavit.stages.context import StageContext
from lavit.stages.pretrain import check_frozen, optimizer_of
from lavit.stages.processes import TrainerConfig
from lavit.stages.training import fit


def run(context: StageContext) -> None:
    """Cool an arm down; writes the model that is evaluated."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    trunk = context.inputs.get("tune", context.inputs["pretrain"])
    inherit_counts(module, *(context.inputs[name] for name in ("pretrain", "tune") if name in context.inputs))
    module.model.load_state_dict(load_file(trunk / "model.safetensors"))
    before = frozen_hashes(module.model)
    steps = context.config.cooldown.steps
    module.first_step = context.config.train.steps
    fit(
        module,
        context,
        steps,
        optimizer_of(context, warmup=0, schedule="cooldown"),
        first_step=module.first_step,
        validate_at=[steps],
        warm_start=trunk / "state.safetensors",
        precision=context.config.train.precision,
        trainer_config=TrainerConfig.of(context.config.trainer),
        workers=context.config.train.workers,
    )
    check_frozen(module, before)
    finish_arm(module, context, steps)
