"""What is predicted at a visual position: where the next token sits (or that the image ends), and what it is.

The two parts are factorised exactly, p(place) * p(token | place): the place is predicted from the hidden state, the
token from the hidden state and the embedding of that place. Where places are implied (fixed and pooled tokens) only
the token is predicted and the image ends when all places are filled.

Shapes: P predictions, W width of the LLM, D dimensions of the target, L places (index L means "the image ends").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.model.targets import Target


class VisualHead(nn.Module):
    """Place (unless implied) and token of the next visual position.

    Args:
        width: the LLM's width.
        target: what a token is (:mod:`lavit.model.targets`).
        places: number of places.
        implied: True where the place of the n-th token is n and every place is filled (fixed and pooled tokens).
        ranked: True where the place of the n-th token is n but the model ends the image (``positions: rank``).
    """

    def __init__(self, width: int, target: Target, places: int, implied: bool, ranked: bool = False):
        super().__init__()
        self.places, self.implied, self.ranked = places, implied, ranked
        self.target = target
        self.place_head = None if implied else nn.Linear(width, places + 1)
        self.place = nn.Embedding(places, width)
        self.mix = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        nn.init.normal_(self.place.weight, std=0.02)

    def token_hidden(self, hidden_PW: Tensor, places_P: Tensor) -> Tensor:
        """Hidden state of the token given its place [P, W]."""
        return hidden_PW + self.mix(torch.cat([hidden_PW, self.place(places_P)], -1))

    def place_logits(self, hidden_PW: Tensor, last_place_P: Tensor) -> Tensor:
        """Logits over places and the end [P, L + 1]; tokens stand in raster order, so earlier places are forbidden.

        Args:
            hidden_PW: hidden states.
            last_place_P: place of the token before, -1 at the start (where the image may not end).
        """
        assert self.place_head is not None
        logits = self.place_head(hidden_PW)
        order = torch.arange(self.places + 1, device=logits.device)
        forbidden = order <= last_place_P[:, None]
        if self.ranked:
            forbidden |= (order > last_place_P[:, None] + 1) & (order < self.places)
        forbidden |= (last_place_P[:, None] < 0) & (order == self.places)
        return logits.masked_fill(forbidden, float("-inf"))

    def loss(
        self,
        hidden_PW: Tensor,
        place_P: Tensor,
        last_place_P: Tensor,
        codes_P: Tensor,
        vectors_PD: Tensor,
        total: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch of predictions.

        Args:
            hidden_PW: hidden states that predict.
            place_P: place to be predicted, ``places`` where the image ends.
            last_place_P: place of the token before, -1 at the start.
            codes_P, vectors_PD: the token to be predicted; ignored where the image ends.
            total: sums a tensor over the processes that share a batch, if any: means are then this share's part of
                the whole batch's mean, so that they add up to it.
        """
        real = place_P < self.places
        of_places, of_tokens = 1.0, 1.0
        if total is not None:
            counts = torch.tensor([len(place_P), int(real.sum())], dtype=torch.float64)
            of_places, of_tokens = (counts / total(counts)).tolist()
        metrics: dict[str, Tensor] = {}
        loss = hidden_PW.new_zeros(())
        if self.place_head is not None:
            place_loss = F.cross_entropy(self.place_logits(hidden_PW, last_place_P), place_P) * of_places
            metrics["place"] = place_loss.detach()
            loss = loss + place_loss
        hidden = self.token_hidden(hidden_PW[real], place_P[real])
        token_loss, quality = self.target.loss(hidden, codes_P[real], vectors_PD[real])
        token_loss, quality = token_loss * of_tokens, quality * of_tokens
        metrics["token"], metrics["token_quality"] = token_loss.detach(), quality.detach()
        return loss + token_loss, metrics
