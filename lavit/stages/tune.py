"""Tuning: the second phase of a recipe, begun from the weights of the first with an optimizer of its own."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from lavit.errors import LavitError
from lavit.stages.arm import ArmModule, inherit_counts
from lavit.stages.context import StageContext
from lavit.stages.pretrain import train_phase

LATER = ("head.", "vector_in.", "code_in.", "code_rows.")  # what a first phase without a visual loss need not have


def run(context: StageContext) -> None:
    """Train the second phase; what the first one did not have (a visual head) begins as the seed draws it."""
    torch.manual_seed(context.seed)
    module = ArmModule(context)
    trunk = context.inputs["pretrain"]
    missing, unexpected = module.model.load_state_dict(load_file(trunk / "model.safetensors"), strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith(LATER))]
    if wrong:
        raise LavitError(f"{trunk}/model.safetensors does not fit the arm that is tuned: {', '.join(wrong[:5])}")
    inherit_counts(module, trunk / "ledger.json")
    train_phase(module, context)
