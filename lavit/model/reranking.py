"""Best of k: which of several drawings of one prompt to keep.

Ranking looks at what the tokenizer decoded: features, so that only the images that are kept need to be turned into
pixels, or the pixels of a tokenizer that paints them itself.

Shapes: B prompts, k drawings of each, N patches, C feature width, T positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lavit.errors import LavitError
from lavit.model.protocol import Prompt
from lavit.sequences import collate

if TYPE_CHECKING:
    from lavit.model.vision_language import Arm

Reranker = Callable[["Arm", list[Prompt], Tensor], Tensor]
"""Arm, one prompt a drawing, features [B k, N, C] (or pixels [B k, H, W, 3]) -> scores [B k]; of the drawings of a
prompt the highest is kept."""


def caption_likelihood(arm: Arm, prompts: list[Prompt], decoded: Tensor) -> Tensor:
    """Mean log-probability a token (nats) that the arm itself gives to the prompt's text as a caption of the drawing.

    It needs no other model, but it is the arm's own opinion: an arm that misreads images also ranks them wrongly.

    Raises:
        LavitError: a prompt has no text.
    """
    texts = [
        prompt if isinstance(prompt, str) else " ".join(p for p in prompt if isinstance(p, str)) for prompt in prompts
    ]
    if not all(text.strip() for text in texts):
        raise LavitError("a prompt without text cannot rank its drawings", "give it text, or set draw.best_of to 1")
    read = arm.read(decoded)
    batch = collate([arm.builder.caption(rows, text) for rows, text in zip(read.entering(), texts, strict=True)])
    batch = batch.to(decoded.device)
    nats = arm.model.text_loss(arm.model.hidden(batch, read.store), batch)
    row = batch.text_at // batch.ids_BT.shape[1]
    total = torch.zeros(len(texts), device=nats.device).index_add(0, row, nats)
    return -total / row.bincount(minlength=len(texts))


def best_rows(scores: Tensor, k: int) -> Tensor:
    """Rows [B] of the best of each ``k`` neighbours; of equals the first."""
    scores_Bk = scores.view(-1, k)
    return torch.arange(len(scores_Bk), device=scores.device) * k + scores_Bk.argmax(1)
