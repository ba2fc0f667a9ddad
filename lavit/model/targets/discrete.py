"""The code of the next token, by cross-entropy (LaVIT).

Shapes: P predictions, W width of the LLM, D code dimension, K codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.model.draw_settings import DrawSettings
from lavit.model.sampling import draw, guide
from lavit.model.targets.target import ImageShape, Target
from lavit.tokenizer import VisualTokenizer
from lavit.tokenizer.tokens import VisualTokens

SHARPNESS = 4.0  # codes are unit vectors: products below one would leave the softmax flat for long


class DiscreteTarget(Target):
    """Predict the code by cross-entropy (LaVIT, section 3.2).

    A code's logit is its own row of the output vocabulary plus the product of a projected hidden state with the
    code's vector: codes that look alike start alike, so that rare codes learn from common ones.
    """

    name = "discrete"
    discrete = True

    codebook_KD: Tensor

    def __init__(self, images: ImageShape, end: str = "class"):
        super().__init__(images, end)
        codebook_KD = images.codebook_KD
        self.rows = nn.Linear(images.width, codebook_KD.shape[0])
        nn.init.zeros_(self.rows.weight)
        nn.init.zeros_(self.rows.bias)
        self.vector = nn.Linear(images.width, codebook_KD.shape[1], bias=False)
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

    def true_vectors(self, tokenizer: VisualTokenizer, tokens: VisualTokens) -> Tensor:
        """The rows of the codebook."""
        return tokenizer.lookup(tokens.codes_BK)
