"""Attention over weighted keys (LaVIT's two softmaxes) and over packed rows, and the layers that offer both.

A key's weight is 1 (may be attended to) or 0 (may not). In the weighted form the weights are the selector's
straight-through decisions, so gradients flow through them: that is how the merger teaches the selector. The packed form
computes the same for rows that exist only, through a fused kernel, and passes no gradient to decisions.

Shapes: B images, N queries, M keys, H heads, C channels, E channels a head, R S packed rows of queries and keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.tokenizer.packing import PackedRows

POLICY_EPSILON = 1e-6
GRADIENT_CEILING = 5.0  # largest log-ratio by which a forbidden key's gradient may exceed an allowed one's

Softmax = Callable[[Tensor, Tensor], Tensor]


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


def policy_softmax(scores_BHNM: Tensor, weights_BNM: Tensor, epsilon: float = POLICY_EPSILON) -> Tensor:
    """LaVIT's official form: the maximum is over all keys, and a weight of epsilon / M leaks to each of them."""
    scores_BHNM = scores_BHNM.float()
    weights_B1NM = weights_BNM.float().unsqueeze(1)
    terms_BHNM = (scores_BHNM - scores_BHNM.amax(-1, keepdim=True)).exp() * weights_B1NM
    leak = epsilon / scores_BHNM.shape[-1]
    return (terms_BHNM + leak) / (terms_BHNM.sum(-1, keepdim=True) + epsilon)


SOFTMAXES: dict[str, Softmax] = {"exact": exact_softmax, "policy": policy_softmax}


def _heads(x_BNC: Tensor, heads: int) -> Tensor:
    batch, length, width = x_BNC.shape
    return x_BNC.view(batch, length, heads, width // heads).transpose(1, 2)


class _Attention(nn.Module):
    """What both kinds of attention share: heads, the choice of softmax, and the two ways to mix values."""

    def __init__(self, width: int, heads: int, softmax: str):
        super().__init__()
        if width % heads:
            raise LavitError(f"width {width} cannot be divided into {heads} heads")
        if softmax not in SOFTMAXES:
            raise LavitError(f"softmax={softmax!r} is unknown; choose one of {sorted(SOFTMAXES)}")
        self.heads, self.softmax = heads, SOFTMAXES[softmax]

    def scores(self, query_BNC: Tensor, key_BMC: Tensor) -> Tensor:
        """Scaled products [B, H, N, M] of projected queries and keys (scaled per head, as the official code does)."""
        query_BHNE, key_BHME = _heads(query_BNC, self.heads), _heads(key_BMC, self.heads)
        return query_BHNE @ key_BHME.transpose(-1, -2) * query_BHNE.shape[-1] ** -0.5

    def mix(self, query_BNC: Tensor, key_BMC: Tensor, value_BMC: Tensor, weights_BNM: Tensor) -> Tensor:
        """Values mixed for each query under weights ([B, 1, M] broadcasts over queries)."""
        probs_BHNM = self.softmax(self.scores(query_BNC, key_BMC), weights_BNM)
        value_BHME = _heads(value_BMC, self.heads)
        return (probs_BHNM.to(value_BHME.dtype) @ value_BHME).transpose(1, 2).flatten(2)

    def mix_packed(
        self,
        query_RC: Tensor,
        key_SC: Tensor,
        value_SC: Tensor,
        queries: PackedRows,
        memory: PackedRows,
        causal: bool = False,
    ) -> Tensor:
        """The same for packed rows: each query reads the memory of its own image, all of it or up to its own rank."""
        heads = (
            _heads(rows.pad(x), self.heads) for rows, x in ((queries, query_RC), (memory, key_SC), (memory, value_SC))
        )
        query_BHKE, key_BHLE, value_BHLE = heads
        # Rows fill the first ranks, so under causality no query can see padding: only then is no mask needed.
        mask = None if causal or memory.even else memory.mask_BK()[:, None, None]
        mixed_BHKE = F.scaled_dot_product_attention(query_BHKE, key_BHLE, value_BHLE, attn_mask=mask, is_causal=causal)
        return queries.unpad(mixed_BHKE.transpose(1, 2).flatten(2))


class WeightedSelfAttention(_Attention):
    """Self-attention with one fused projection.

    Args:
        width: channels C.
        heads: attention heads H.
        softmax: ``exact`` or ``policy``.
    """

    def __init__(self, width: int, heads: int, softmax: str = "exact"):
        super().__init__(width, heads, softmax)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BNC: Tensor, weights_BNN: Tensor) -> Tensor:
        """Weighted form."""
        query, key, value = self.qkv(x_BNC).chunk(3, -1)
        return self.out(self.mix(query, key, value, weights_BNN))

    def packed(self, x_RC: Tensor, rows: PackedRows, causal: bool) -> Tensor:
        """Packed form: all rows of an image (up to a row's own rank if causal) weigh 1."""
        query, key, value = self.qkv(x_RC).chunk(3, -1)
        return self.out(self.mix_packed(query, key, value, rows, rows, causal))

    def probabilities(self, x_BNC: Tensor, weights_BNN: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and probabilities [B, H, N, N], to look at."""
        query, key, _ = self.qkv(x_BNC).chunk(3, -1)
        scores = self.scores(query, key)
        return scores, self.softmax(scores, weights_BNN)


class WeightedAttention(_Attention):
    """Attention from queries to another sequence.

    Args: as :class:`WeightedSelfAttention`.
    """

    def __init__(self, width: int, heads: int, softmax: str = "exact"):
        super().__init__(width, heads, softmax)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, query_BNC: Tensor, memory_BMC: Tensor, weights_BNM: Tensor) -> Tensor:
        """Weighted form; ``weights_BNM`` broadcasts over queries ([B, 1, M])."""
        return self.out(self.mix(self.query(query_BNC), self.key(memory_BMC), self.value(memory_BMC), weights_BNM))

    def packed(self, query_RC: Tensor, memory_SC: Tensor, queries: PackedRows, memory: PackedRows) -> Tensor:
        """Packed form: a query reads all memory rows of its image, of which there is at least one."""
        query, key, value = self.query(query_RC), self.key(memory_SC), self.value(memory_SC)
        return self.out(self.mix_packed(query, key, value, queries, memory))

    def probabilities(self, query_BNC: Tensor, memory_BMC: Tensor, weights_BNM: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and probabilities [B, H, N, M], to look at."""
        scores = self.scores(self.query(query_BNC), self.key(memory_BMC))
        return scores, self.softmax(scores, weights_BNM)
