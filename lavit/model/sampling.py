"""From scores to one drawn index: the processors that every generator shares, in the order of the published model.

Guidance, then what is forbidden (lengths, ids), then temperature, top-k and top-p (LaVIT's generation through
transformers). Entries that are out of the question hold minus infinity.

Shapes: B rows, V entries that are chosen from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FORBIDDEN = float("-inf")


def guide(conditional_BV: Tensor, unconditional_BV: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance on log-probabilities: ``l_u + scale * (l_c - l_u)``, each a log-softmax [B, V].

    Exactly the conditional at scale 1 and the unconditional at 0. What the condition forbids stays forbidden.

    Args:
        conditional_BV: scores given the prompt.
        unconditional_BV: scores without it; it must forbid what the condition forbids, and no more.
        scale: above 1, away from what would have been drawn without a prompt.
    """
    own, free = F.log_softmax(conditional_BV, -1), F.log_softmax(unconditional_BV, -1)
    # Infinities would turn into NaN in the difference.
    return torch.lerp(free, own, scale).masked_fill(own == FORBIDDEN, FORBIDDEN)


def forbid(scores_BV: Tensor, *entries: slice | int) -> Tensor:
    """Rule out entries of every row, in place: one assignment a slice, whatever its length."""
    for part in entries:
        scores_BV[..., part] = FORBIDDEN
    return scores_BV


def top_k(scores_BV: Tensor, k: int) -> Tensor:
    """Keep exactly the ``k`` largest of each row, or all that are possible where those are fewer.

    Of equal scores at the boundary as many stay as there is room for; which ones, ``torch.topk`` decides.
    """
    if k >= scores_BV.shape[-1]:
        return scores_BV
    value_Bk, index_Bk = scores_BV.topk(k, dim=-1)
    return torch.full_like(scores_BV, FORBIDDEN).scatter(-1, index_Bk, value_Bk)


def top_p(scores_BV: Tensor, p: float) -> Tensor:
    """Keep the fewest of the likeliest entries of each row whose mass reaches ``p`` (nucleus sampling).

    Among equal scores the first come first; one entry always stays.
    """
    if p >= 1:
        return scores_BV
    order_BV = scores_BV.argsort(dim=-1, descending=True, stable=True)
    mass_BV = scores_BV.gather(-1, order_BV).softmax(-1)
    before_BV = F.pad(mass_BV.cumsum(-1)[..., :-1], (1, 0), value=FORBIDDEN)
    beyond_BV = torch.zeros_like(before_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV >= p)
    return scores_BV.masked_fill(beyond_BV, FORBIDDEN)


def draw(
    scores_BV: Tensor,
    temperature: float,
    generator: torch.Generator | None,
    k: int | None = None,
    p: float = 1.0,
) -> Tensor:
    """Draw one entry a row [B].

    Args:
        scores_BV: logits or log-probabilities; a constant added to a row changes nothing.
        temperature: of the softmax; 0 takes the largest, and then nothing else matters.
        generator: where draws come from. They are made on its device, so that a CPU generator gives the same
            drawings whatever device the model is on.
        k: keep only so many of the likeliest; None: all.
        p: keep only the likeliest that make up this mass; 1: all.
    """
    if temperature == 0:
        return scores_BV.argmax(-1)
    scores_BV = scores_BV / temperature
    if k is not None:
        scores_BV = top_k(scores_BV, k)
    probability_BV = top_p(scores_BV, p).softmax(-1)
    if generator is not None:
        probability_BV = probability_BV.to(generator.device)
    return torch.multinomial(probability_BV, 1, generator=generator).squeeze(-1).to(scores_BV.device)
