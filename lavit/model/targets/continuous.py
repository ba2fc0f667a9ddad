"""The tokenizer's unit vector before quantisation, by squared error.

Shapes: P predictions, D code dimension.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lavit.model.targets.regressed import Regressed
from lavit.model.targets.target import ImageShape


class ContinuousTarget(Regressed):
    """Regress the token's vector by squared error against the frozen tokenizer (Emu's loss, section 2.2, on a target
    that stands still)."""

    name = "continuous"

    def __init__(self, images: ImageShape, end: str = "class"):
        super().__init__(images, images.codebook_KD.shape[1], end=end)

    def error(self, predicted_PD: Tensor, wanted_PD: Tensor) -> Tensor:
        """Squared error summed over the vector's dimensions: 1 for a prediction of nothing, whatever D."""
        return (predicted_PD - wanted_PD.detach()).square().sum(-1)

    def finish(self, vectors_PD: Tensor) -> Tensor:
        """Unit length, as the tokenizer's vectors have it."""
        return F.normalize(vectors_PD, dim=-1)
