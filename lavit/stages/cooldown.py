"""Cool-down: the trunk's weights and moments, the rate going linearly to zero, the data going on where they were."""

from __future__ import annotations

from pathlib import Path

import torch

from lavit.errors import LavitError
from lavit.model.blocks import frozen_hashes
from lavit.stages.arm import ArmModule, finish_arm, inherit_counts
from lavit.stages.context import StageContext
from lavit.stages.pretrain import branch_files, check_frozen, optimizer_of
from lavit.stages.processes import TrainerConfig
from lavit.stages.recipe import Recipe
from lavit.stages.state import load_state
from lavit.stages.training import fit


def run(context: StageContext) -> None:
    """Cool an arm down; writes the model that is evaluated."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    module.first_step, state, ledgers = trunk_of(context, module.recipe)
    load_state(state, module)
    before = frozen_hashes(module.model)
    inherit_counts(module, *ledgers)
    steps = context.config.cooldown.steps
    fit(
        module,
        context,
        steps,
        optimizer_of(context, warmup=0, schedule="cooldown"),
        first_step=module.first_step,
        validate_at=[steps],
        warm_start=state,
        precision=context.config.train.precision,
        trainer_config=TrainerConfig.of(context.config.trainer),
        workers=context.config.train.workers,
    )
    check_frozen(module, before)
    finish_arm(module, context, steps)


def trunk_of(context: StageContext, recipe: Recipe) -> tuple[int, Path, list[Path]]:
    """Where a cool-down begins: the global step, the trunk's state there, and the ledgers of what was spent by then.

    Raises:
        LavitError: the trunk has not kept its state at ``cooldown.at``.
    """
    names = [name for name in ("pretrain", "tune") if name in context.inputs]
    trunk = context.inputs[names[-1]]
    before = [context.inputs[name] / "ledger.json" for name in names]
    at = context.config.cooldown.at
    if at is None or at == recipe.steps:
        return recipe.steps, trunk / "state.safetensors", before
    state, ledger = branch_files(trunk, int(at))
    if not state.is_file():
        kept = [int(path.stem.removeprefix("branch-")) for path in trunk.glob("branch-*.safetensors")]
        raise LavitError(
            f"cooldown.at={at}: the stage {names[-1]} has not kept its state at that step "
            f"(it has: {', '.join(map(str, sorted(kept))) or 'none'})",
            f"name it in train.branches; {names[-1]} covers the steps {recipe.span(names[-1])}",
        )
    return int(at), state, [*before[:-1], ledger]
