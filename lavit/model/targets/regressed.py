"""What all regressed targets share: a head, and how what it gives is guided and fed back.

Shapes: P predictions, W width of the LLM, D dimensions of the target.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.model.draw_settings import DrawSettings
from lavit.model.targets.target import ImageShape, Target


class Regressed(Target):
    """A vector, by a linear head; what is regressed is always detached.

    Args:
        images: the arm's shape.
        dim: dimensions D of the vector.
        bias: of the head, and of the projector that feeds its vectors back.
        end: see :class:`~lavit.model.targets.target.Target`.
    """

    def __init__(self, images: ImageShape, dim: int, bias: bool = True, end: str = "class"):
        super().__init__(images, end)
        self.dim, self.bias = dim, bias
        self.head: nn.Module = nn.Linear(images.width, dim, bias=bias)

    def projector(self) -> nn.Linear | None:
        """D to W, with a bias where the head has one."""
        return nn.Linear(self.dim, self.width, bias=self.bias)

    def error(self, predicted_PD: Tensor, wanted_PD: Tensor) -> Tensor:
        """Loss of each prediction [P]."""
        raise TypeError(f"{type(self).__name__} does not define error")

    def finish(self, vectors_PD: Tensor) -> Tensor:
        """What the head gives, in the form in which true vectors are fed back."""
        return vectors_PD

    def loss(self, hidden_PW: Tensor, codes_P: Tensor, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Mean :meth:`error`, and the cosine to the target."""
        predicted_PD = self.head(hidden_PW)
        quality = F.cosine_similarity(predicted_PD.detach(), vectors_PD.detach(), dim=-1).mean()
        return self.error(predicted_PD, vectors_PD).mean(), quality

    def choose(
        self,
        hidden_PW: Tensor,
        codebook_KD: Tensor,
        settings: DrawSettings,
        generator: torch.Generator | None,
        unguided_PW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Index -1 and the regressed vectors, as the decoder expects them.

        There are no probabilities to guide. The regressed vectors are moved by the same formula, before they are
        finished: under squared error a vector is the mean of a Gaussian of fixed width, and the guided log-density,
        ``log p_u + a (log p_c - log p_u)``, is that of a Gaussian around ``v_u + a (v_c - v_u)``.
        """
        vectors_PD = self.head(hidden_PW)
        if unguided_PW is not None:
            vectors_PD = torch.lerp(self.head(unguided_PW), vectors_PD, settings.guidance)
        vectors_PD = self.finish(vectors_PD)
        return torch.full(vectors_PD.shape[:1], -1, device=vectors_PD.device), vectors_PD
