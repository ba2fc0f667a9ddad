"""Cool-down: the trunk's weights and moments, the rate going linearly to zero, the data going on where they were."""

from __future__ import annotations

import json

import torch

from lavit.model.lavit import weights_hash
from lavit.stages.arm import ArmModule, finish_arm
from lavit.stages.context import StageContext
from lavit.stages.pretrain import check_frozen, optimizer_of
from lavit.stages.processes import TrainerConfig
from lavit.stages.training import fit


def run(context: StageContext) -> None:
    """Cool an arm down; writes the model that is evaluated."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    before = weights_hash(module.model.llm)
    trunk = context.inputs["pretrain"]
    spent = json.loads((trunk / "ledger.json").read_text())
    inherited = ("positions", "supervised_text_tokens", "supervised_visual_positions", "flops")
    module.trunk_counts = torch.tensor([float(spent[name]) for name in inherited], dtype=torch.float64)
    steps = context.config.cooldown.steps
    fit(
        module,
        context,
        steps,
        optimizer_of(context, warmup=0, schedule="cooldown"),
        first_step=context.config.train.steps,
        validate_at=[steps],
        warm_start=trunk / "state.safetensors",
        precision=context.config.train.precision,
        trainer_config=TrainerConfig.of(context.config.trainer),
        workers=context.config.train.workers,
    )
    check_frozen(module, before)
    finish_arm(module, context, steps)
