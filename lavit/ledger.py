"""Ledgers: what a stage cost, measured while it runs.

FLOPs follow the rule that a frozen LLM does not cost what a trained one does: per position and parameter 6 where the
weights learn (forward, backward through activations, weight gradients), 4 where they are frozen but gradients pass
through them, 2 where nothing upstream learns; attention adds 2 * 2 * layers * length^2 * width forward.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

TRAINED, TRAVERSED, FORWARD_ONLY = 6, 4, 2


@dataclass
class Ledger:
    """The costs of one stage (sums over its steps)."""

    examples_understanding: int = 0
    examples_generation: int = 0
    examples_text: int = 0
    supervised_text_tokens: int = 0
    supervised_visual_positions: int = 0
    positions: int = 0
    flops: float = 0.0
    params_total: int = 0
    params_trainable: int = 0
    steps: int = 0

    def write(self, folder: Path) -> None:
        """Write ``ledger.json``."""
        self.write_to(folder / "ledger.json")

    def write_to(self, path: Path) -> None:
        """Write the ledger as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Total and trainable parameters of a module."""
    total = sum(p.numel() for p in module.parameters())
    return total, sum(p.numel() for p in module.parameters() if p.requires_grad)


def dense_flops(parameters: int, positions: float, factor: int) -> float:
    """FLOPs of matrix products with ``parameters`` weights over ``positions`` (factor 6, 4 or 2)."""
    return float(factor) * parameters * positions


def attention_flops(layers: int, width: int, squared_lengths: float, factor: int) -> float:
    """FLOPs of scores and weighted sums; ``squared_lengths`` is the sum over sequences of length squared.

    ``factor`` is 6, 4 or 2 as for weights; attention itself has none, so a frozen layer that gradients pass through
    costs as much as a trained one: forward once, backward twice.
    """
    passes = 1 if factor == FORWARD_ONLY else 3
    return passes * 4.0 * layers * width * squared_lengths / 2  # causal: half of the square
