"""The watch over a target that the arm itself makes: where it no longer tells images apart, training is stopped.

A regressed target that learns can be made easy by making it constant. Its variance over images is followed as a moving
average, from the stage's first step on; both numbers are saved with the arm, so that an interrupted stage and a
cool-down go on with them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lavit.stages.training import TrainingError

DECAY = 0.9  # of the moving average: a batch of few images alone is too noisy to fail a run


class VarianceWatch(nn.Module):
    """Stops training when the variance falls too low.

    Args:
        below: share of the variance at the start (``target.collapse_below``).
    """

    seen: Tensor

    def __init__(self, below: float):
        super().__init__()
        self.below = below
        self.register_buffer("seen", torch.full((2,), math.nan, dtype=torch.float64))  # at the start, and now

    def see(self, variance: float, step: int) -> None:
        """Take up a step's variance.

        Raises:
            TrainingError: the average is below the share of the start.
        """
        start, now = self.seen.tolist()
        start = variance if math.isnan(start) else start
        now = variance if math.isnan(now) else DECAY * now + (1 - DECAY) * variance
        self.seen.copy_(torch.tensor([start, now]))
        if now < self.below * start or start == 0:
            raise TrainingError(
                f"the regressed target has collapsed: at step {step} its variance over images is {now:.2g}, and was "
                f"{start:.2g} at the start (target.collapse_below={self.below}). What makes it is the connector: lower "
                "regime.pretrain.lr.connector or train.weights.generation, or choose a target that stands still "
                "(target=feature)"
            )
