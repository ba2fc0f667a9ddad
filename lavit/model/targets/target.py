"""What every target offers.

Shapes: P predictions, W width of the LLM, D dimensions of the target, K codes, B images, N patches, C feature width,
M rows of a store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.model.draw_settings import DrawSettings
from lavit.model.painting import decode
from lavit.sequences import VisualStore
from lavit.tokenizer import VisualTokenizer
from lavit.tokenizer.tokens import VisualTokens

ENDS = ("class", "full")


@dataclass(frozen=True)
class ImageShape:
    """What a target has to know of the arm that it is part of.

    Attributes:
        width: the LLM's.
        codebook_KD: the tokenizer's codebook.
        feature_dim: channels C of the features that enter.
        places: where a token of the tokenizer may lie; all patches, where the tokenizer drops none.
        slots: embeddings that the connector gives an image; None where it gives one to each token.
    """

    width: int
    codebook_KD: Tensor
    feature_dim: int
    places: int
    slots: int | None


class Target(nn.Module):
    """What a visual token is to a model that writes it: learned by :meth:`loss`, written by :meth:`choose`.

    Attributes:
        name: as ``target.name`` says.
        discrete: tokens are codes; else they are vectors.
        writes_slots: an image is written as what the connector makes of it, not as the tokenizer's tokens.
        stop_gradient: what is regressed is detached; False for one control alone.
        collapse_below: share of its variance at the start below which a target that learns has collapsed.

    Args:
        images: the arm's shape.
        end: what ends an image that is written. ``class``: the model does, by a class beside the places. ``full``:
            nothing; all places are filled, which only a fixed number of tokens allows.

    Raises:
        LavitError: ``end`` is neither.
    """

    name: str
    discrete = False
    writes_slots = False
    stop_gradient = True
    collapse_below = 0.0

    def __init__(self, images: ImageShape, end: str = "class"):
        super().__init__()
        if end not in ENDS:
            raise LavitError(f"target.end={end!r} is unknown", f"choose {' or '.join(ENDS)}")
        self.width, self.end = images.width, end

    def projector(self) -> nn.Linear | None:
        """A new layer that takes written vectors back into the LLM's width; None where none is needed."""
        return None

    def vectors(self, store: VisualStore, rows: Tensor | slice) -> Tensor:
        """Vectors of stored tokens: what is regressed, and what is fed back [..., D]."""
        return store.vectors_MD[rows]

    def loss(self, hidden_PW: Tensor, codes_P: Tensor, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and a quality of the predictions made from ``hidden_PW``, 1 where they are perfect."""
        raise TypeError(f"{type(self).__name__} does not define loss")

    def further_loss(
        self, vectors_PD: Tensor, rows_P: Tensor, store: VisualStore, total: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """What a target trains beside the predictions, and what it tells of itself.

        Args:
            vectors_PD: the vectors that are regressed, image after image.
            rows_P: their rows of the store.
            store: the visual tokens.
            total: see :meth:`lavit.model.visual_head.VisualHead.loss`.
        """
        return None, {}

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

    def true_vectors(self, tokenizer: VisualTokenizer, tokens: VisualTokens) -> Tensor:
        """Vectors [B, K, D] that would be written if nothing were lost but what the target cannot hold."""
        return tokens.vectors_BKD

    def decode(self, tokenizer: VisualTokenizer, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Vision features [B, N, C] of written images: the frozen tokenizer's decoder serves all that can use it."""
        return decode(tokenizer, vectors_BKD, places_BK, mask_BK)
