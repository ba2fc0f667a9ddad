"""What is predicted at a visual position: where the next token sits (or that the image ends), and what it is.

The two parts are factorised exactly, p(place) * p(token | place): the place is predicted from the hidden state, the
token from the hidden state and the embedding of that place. Where places are implied (fixed and pooled tokens) only
the token is predicted and the image ends when all places are filled.

Shapes: P predictions, W width of the LLM, D code dimension, K codes, L places (index L means "the image ends").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.model.draw_settings import DrawSettings
from lavit.model.sampling import draw, guide

SHARPNESS = 4.0  # codes are unit vectors: products below one would leave the softmax flat for long


class Target(nn.Module):
    """What a visual token is to a model that writes it: learned by :meth:`loss`, written by :meth:`choose`.

    Args:
        width: the LLM's width.
        codebook_KD: the tokenizer's codebook.
    """

    name: str

    def __init__(self, width: int, codebook_KD: Tensor):
        super().__init__()
        self.width = width

    def loss(self, hidden_PW: Tensor, codes_P: Tensor, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and a quality between 0 and 1 of the predictions made from ``hidden_PW``."""
        raise TypeError(f"{type(self).__name__} does not define loss")

    def choose(
        self,
        hidden_PW: Tensor,
        codebook_KD: Tensor,
        settings: DrawSettings,
        generator: torch.Generator | None,
        unguided_PW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Code (-1 where there is none) and vector of the token that is written.

        Args:
            hidden_PW: hidden states that predict.
            codebook_KD: the tokenizer's codebook.
            settings: temperature, top-k, top-p and the scale of the guidance.
            generator: where draws come from.
            unguided_PW: hidden states of the same images without their prompts; None where nothing is guided.
        """
        raise TypeError(f"{type(self).__name__} does not define choose")


class DiscreteTarget(Target):
    """Predict the code by cross-entropy (LaVIT, section 3.2).

    A code's logit is its own row of the output vocabulary plus the product of a projected hidden state with the
    code's vector: codes that look alike start alike, so that rare codes learn from common ones.
    """

    name = "discrete"

    codebook_KD: Tensor

    def __init__(self, width: int, codebook_KD: Tensor):
        super().__init__(width, codebook_KD)
        self.rows = nn.Linear(width, codebook_KD.shape[0])
        nn.init.zeros_(self.rows.weight)
        nn.init.zeros_(self.rows.bias)
        self.vector = nn.Linear(width, codebook_KD.shape[1], bias=False)
        self.register_buffer("codebook_KD", codebook_KD.clone(), persistent=False)

    def logits(self, hidden_PW: Tensor) -> Tensor:
        """Logits over codes [P, K]."""
        return self.rows(hidden_PW) + SHARPNESS * self.vector(hidden_PW) @ self.codebook_KD.T

    def loss(self, hidden_PW: Tensor, codes_P: Tensor, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy in nats, and the share of codes that are right."""
        logits_PK = self.logits(hidden_PW)
        return F.cross_entropy(logits_PK, codes_P), (logits_PK.argmax(-1) == codes_P).float().mean()

    def choose(
        self,
        hidden_PW: Tensor,
        codebook_KD: Tensor,
        settings: DrawSettings,
        generator: torch.Generator | None,
        unguided_PW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Codes (greedy at temperature 0) and their vectors; guided on the codes' log-probabilities."""
        scores_PK = self.logits(hidden_PW)
        if unguided_PW is not None:
            scores_PK = guide(scores_PK, self.logits(unguided_PW), settings.guidance)
        codes_P = draw(scores_PK, settings.token_temperature, generator, settings.top_k, settings.top_p)
        return codes_P, codebook_KD[codes_P]


class ContinuousTarget(Target):
    """Regress the token's vector by squared error against the frozen tokenizer (Emu, section 2.2)."""

    name = "continuous"

    def __init__(self, width: int, codebook_KD: Tensor):
        super().__init__(width, codebook_KD)
        self.head = nn.Linear(width, codebook_KD.shape[1])

    def loss(self, hidden_PW: Tensor, codes_P: Tensor, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error summed over the vector's dimensions, and the cosine to the target."""
        predicted_PD = self.head(hidden_PW)
        error = (predicted_PD - vectors_PD.detach()).square().sum(-1).mean()
        return error, F.cosine_similarity(predicted_PD, vectors_PD, dim=-1).mean()

    def choose(
        self,
        hidden_PW: Tensor,
        codebook_KD: Tensor,
        settings: DrawSettings,
        generator: torch.Generator | None,
        unguided_PW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Index -1 and the regressed vectors at unit length, as the tokenizer's decoder expects them.

        There are no probabilities to guide. The regressed vectors are moved by the same formula, before they are
        brought to unit length: under squared error a vector is the mean of a Gaussian of fixed width, and the guided
        log-density, ``log p_u + a (log p_c - log p_u)``, is that of a Gaussian around ``v_u + a (v_c - v_u)``.
        """
        vectors_PD = self.head(hidden_PW)
        if unguided_PW is not None:
            vectors_PD = torch.lerp(self.head(unguided_PW), vectors_PD, settings.guidance)
        vectors_PD = F.normalize(vectors_PD, dim=-1)
        return torch.full(vectors_PD.shape[:1], -1, device=vectors_PD.device), vectors_PD


class VisualHead(nn.Module):
    """Place (unless implied) and token of the next visual position.

    Args:
        width: the LLM's width.
        target: a :class:`DiscreteTarget` or :class:`ContinuousTarget`.
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
