"""How much a learned target still tells images apart: its variance and its effective rank.

Shapes: I images, M slots, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 512  # at most, of which singular values are taken


def variance(vectors_IMW: Tensor) -> Tensor:
    """Variance over the images, averaged over slots and dimensions.

    Within each slot: a connector that gives every slot a vector of its own, whatever the image, has collapsed although
    its vectors differ.
    """
    return vectors_IMW.float().var(0, unbiased=False).mean()


def effective_rank(vectors_IMW: Tensor) -> Tensor:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli 2007), 1 to W.

    Of the vectors centred in each slot, for the same reason; at most :data:`ROWS` of them.
    """
    centred = vectors_IMW.float() - vectors_IMW.float().mean(0)
    values = torch.linalg.svdvals(centred.flatten(0, 1)[:ROWS])
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(-(share * share.clamp_min(torch.finfo(values.dtype).tiny).log()).sum())
