"""Attention whose keys carry weights: the two softmaxes of LaVIT's token merger, and the layers around them.

A key's weight is 1 (may be attended to) or 0 (may not). The weights are the selector's straight-through
decisions, so gradients flow through them: that is how the merger teaches the selector.

Shapes: B images, N queries, M keys, H heads, C channels, E channels a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.errors import LavitError

POLICY_EPSILON = 1e-6
GRADIENT_CEILING = 5.0  # largest log-ratio by which a forbidden key's gradient may exceed an allowed one's


def exact_softmax(scores_BHNM: Tensor, weights_BNM: Tensor) -> Tensor:
    """Softmax over the keys of weight 1 only; where there are none, the plain mean over all keys.

    The mean is the limit of LaVIT's policy softmax (an image of which every patch is kept has nothing to
    attend to in cross-attention); an ordinary masked softmax gives NaN there.
    """
    scores_BHNM = scores_BHNM.float()
    weights_B1NM = weights_BNM.float().unsqueeze(1)
    allowed = weights_B1NM > 0
    highest_BHN1 = scores_BHNM.masked_fill(~allowed, -torch.inf).amax(-1, keepdim=True)
    highest_BHN1 = torch.where(highest_BHN1.isinf(), scores_BHNM.amax(-1, keepdim=True), highest_BHN1).detach()
    # A forbidden key may score far above the allowed ones; its exponential is multiplied by 0, but the gradient
    # of its weight is not, so it is capped.
    terms_BHNM = (scores_BHNM - highest_BHN1).clamp(max=GRADIENT_CEILING).exp() * weights_B1NM
    total_BHN1 = terms_BHNM.sum(-1, keepdim=True)
    some_B1N1 = allowed.any(-1, keepdim=True)
    mixed = terms_BHNM / torch.where(some_B1N1, total_BHN1, 1.0)
    return torch.where(some_B1N1, mixed, 1.0 / scores_BHNM.shape[-1])


def policy_softmax(scores_BHNM: Tensor, weights_BNM: Tensor) -> Tensor:
    """LaVIT's official form: the maximum is over all keys, and a weight of epsilon / M leaks to each of them."""
    scores_BHNM = scores_BHNM.float()
    weights_B1NM = weights_BNM.float().unsqueeze(1)
    terms_BHNM = (scores_BHNM - scores_BHNM.amax(-1, keepdim=True)).exp() * weights_B1NM
    leak = POLICY_EPSILON / scores_BHNM.shape[-1]
    return (terms_BHNM + leak) / (terms_BHNM.sum(-1, keepdim=True) + POLICY_EPSILON)


SOFTMAXES = {"exact": exact_softmax, "policy": policy_softmax}


def _heads(x_BNC: Tensor, heads: int) -> Tensor:
    batch, length, width = x_BNC.shape
    return x_BNC.view(batch, length, heads, width // heads).transpose(1, 2)


class WeightedAttention(nn.Module):
    """Multi-head attention from queries to weighted keys. Self-attention is the case of equal inputs.

    Args:
        width: channels C.
        heads: attention heads H.
        softmax: ``exact`` or ``policy``.
    """

    def __init__(self, width: int, heads: int, softmax: str = "exact"):
        super().__init__()
        if width % heads:
            raise LavitError(f"width {width} cannot be divided into {heads} heads")
        if softmax not in SOFTMAXES:
            raise LavitError(f"softmax={softmax!r} is unknown; choose one of {sorted(SOFTMAXES)}")
        self.heads, self.softmax = heads, SOFTMAXES[softmax]
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, query_BNC: Tensor, memory_BMC: Tensor, weights_BNM: Tensor) -> Tensor:
        """Mix of the memory for each query; ``weights_BNM`` broadcasts over queries ([B, 1, M])."""
        query_BHNE = _heads(self.query(query_BNC), self.heads)
        key_BHME = _heads(self.key(memory_BMC), self.heads)
        value_BHME = _heads(self.value(memory_BMC), self.heads)
        scores_BHNM = query_BHNE @ key_BHME.transpose(-1, -2) * query_BHNE.shape[-1] ** -0.5
        mixed_BHNE = self.softmax(scores_BHNM, weights_BNM).to(value_BHME.dtype) @ value_BHME
        return self.out(mixed_BHNE.transpose(1, 2).flatten(2))
