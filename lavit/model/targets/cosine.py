"""The direction of the next token's vector or feature (MetaMorph's VPiT).

Shapes: P predictions, B images, K tokens, W width of the LLM, D dimensions of the target, C feature width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.model.painting import decode
from lavit.model.targets.regressed import Regressed
from lavit.model.targets.target import ImageShape
from lavit.sequences import VisualStore
from lavit.tokenizer import VisualTokenizer
from lavit.tokenizer.tokens import VisualTokens

SPACES = ("vector", "feature")


class CosineTarget(Regressed):
    """Negative cosine to a frozen vector, plus one: 0 where the directions agree, 2 where they are opposite.

    A cosine says nothing of length, so that what is fed back and decoded has one that is the same for all tokens: 1 for
    the tokenizer's vectors, ``C ** 0.5`` for features, which is how long a standardised one is in the mean square.

    Args:
        images: the arm's shape.
        space: ``vector`` (the tokenizer's, before quantisation) or ``feature`` (the encoder's, merged; MetaMorph).
        layers: 1, or 2 with a GELU between them, of the head.
        end: see :class:`~lavit.model.targets.target.Target`.

    Raises:
        LavitError: an option has a value that there is not.
    """

    name = "cosine"

    def __init__(self, images: ImageShape, space: str = "vector", layers: int = 1, end: str = "class"):
        if space not in SPACES:
            raise LavitError(f"target.space={space!r} is unknown", f"choose {' or '.join(SPACES)}")
        if layers not in (1, 2):
            raise LavitError(f"target.layers={layers} is no head that there is", "choose 1 or 2")
        dim = images.feature_dim if space == "feature" else images.codebook_KD.shape[1]
        super().__init__(images, dim, end=end)
        self.space, self.length = space, dim**0.5 if space == "feature" else 1.0
        if layers == 2:
            self.head = nn.Sequential(nn.Linear(self.width, self.width), nn.GELU(), nn.Linear(self.width, dim))

    def vectors(self, store: VisualStore, rows: Tensor | slice) -> Tensor:
        """Vectors or features, at the length that all have."""
        return self.finish(store.features_MC[rows] if self.space == "feature" else store.vectors_MD[rows])

    def error(self, predicted_PD: Tensor, wanted_PD: Tensor) -> Tensor:
        """One minus the cosine."""
        return 1 - F.cosine_similarity(predicted_PD, wanted_PD.detach(), dim=-1)

    def finish(self, vectors_PD: Tensor) -> Tensor:
        """The same direction at the length that all have."""
        return F.normalize(vectors_PD, dim=-1) * self.length

    def true_vectors(self, tokenizer: VisualTokenizer, tokens: VisualTokens) -> Tensor:
        """Vectors or features, at the length that all have: what the length held is lost here, too."""
        return self.finish(tokens.features_BKC if self.space == "feature" else tokens.vectors_BKD)

    def decode(self, tokenizer: VisualTokenizer, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """As :class:`~lavit.model.targets.feature.FeatureTarget` does, where the target is a feature."""
        if self.space == "feature":
            vectors_BKD = tokenizer.quantizer.vectors(vectors_BKD)
        return decode(tokenizer, vectors_BKD, places_BK, mask_BK)
