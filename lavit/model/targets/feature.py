"""The frozen encoder's feature of the next token, by squared error (Emu2).

Shapes: P predictions, B images, K tokens, N patches, C feature width.
"""

from __future__ import annotations

from torch import Tensor

from lavit.model.painting import decode
from lavit.model.targets.regressed import Regressed
from lavit.model.targets.target import ImageShape
from lavit.sequences import VisualStore
from lavit.tokenizer import VisualTokenizer
from lavit.tokenizer.tokens import VisualTokens


class FeatureTarget(Regressed):
    """Regress the feature of a token in the frozen encoder's space (Emu2: ``project_down`` out, ``project_up`` in, both
    without bias; the encoder's grid pooled to few cells, which is ``tokens=pooled``).

    The features are the tokenizer's merged ones, standardised by channel: with ``tokens=pooled`` they are averages of
    the encoder's own. To draw, the frozen tokenizer's quantizer turns a predicted feature into the vector that it would
    have made of a true one, and its decoder does the rest: one decoder for every regressed target, with one ceiling.
    """

    name = "feature"

    def __init__(self, images: ImageShape, end: str = "class"):
        super().__init__(images, images.feature_dim, bias=False, end=end)

    def vectors(self, store: VisualStore, rows: Tensor | slice) -> Tensor:
        """The merged features, standardised."""
        return store.features_MC[rows]

    def error(self, predicted_PD: Tensor, wanted_PD: Tensor) -> Tensor:
        """Squared error averaged over the channels.

        A sum over C channels of about unit variance would be C times what the sum over a unit vector is, and drown the
        text loss; the mean is at most about 1 for a prediction of nothing, as there.
        """
        return (predicted_PD - wanted_PD.detach()).square().mean(-1)

    def true_vectors(self, tokenizer: VisualTokenizer, tokens: VisualTokens) -> Tensor:
        """The merged features."""
        return tokens.features_BKC

    def decode(self, tokenizer: VisualTokenizer, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Features, to the tokenizer's vectors, to the features of all patches."""
        return decode(tokenizer, tokenizer.quantizer.vectors(vectors_BKD), places_BK, mask_BK)
