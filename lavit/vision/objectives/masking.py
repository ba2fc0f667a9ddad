"""What masked objectives share: which patches are masked, how they are hidden, and a loss on them alone.

Shapes: B images, H W pixels, N patches, V visible patches, F values predicted of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder, patchify, unpatchify


class MaskedObjective(nn.Module):
    """Predict something of masked patches from what is visible.

    Args:
        encoder: that is taught. It is no part of the objective, and is given again with each batch.
        ratio: share of the patches that is masked.

    Raises:
        LavitError: the share leaves nothing to see or nothing to predict.
    """

    def __init__(self, encoder: VisionEncoder, ratio: float):
        super().__init__()
        self.masked = round(ratio * encoder.num_patches)
        if not 0 < self.masked < encoder.num_patches:
            raise LavitError(
                f"vision.objective.ratio={ratio} masks {self.masked} of {encoder.num_patches} patches",
                "choose a ratio that masks one at least and leaves one at least",
            )

    def mask(self, batch: int, patches: int, generator: torch.Generator) -> Tensor:
        """Masked patches [B, N], the same number in each image."""
        order_BN = torch.rand(batch, patches, generator=generator).argsort(1)
        return order_BN.argsort(1) < self.masked

    def predict(self, encoder: VisionEncoder, pixels_BHWC: Tensor, mask_BN: Tensor) -> Tensor:
        """What is predicted of every patch [B, N, F]; only masked ones are looked at."""
        raise TypeError(f"{type(self).__name__} does not define predict")

    def wanted(self, pixels_BHWC: Tensor, patch: int) -> Tensor:
        """What is to be predicted of every patch [B, N, F]."""
        raise TypeError(f"{type(self).__name__} does not define wanted")

    def forward(self, encoder: VisionEncoder, pixels_BHWC: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error on masked patches, averaged over them.

        Args:
            encoder: that is taught.
            pixels_BHWC: images, -1 to 1.
            generator: where masks are drawn from.
        """
        mask_BN = self.mask(len(pixels_BHWC), encoder.num_patches, generator)
        predicted_BNF = self.predict(encoder, hide(pixels_BHWC, mask_BN, encoder.patch), mask_BN)
        return masked_error(predicted_BNF, self.wanted(pixels_BHWC, encoder.patch), mask_BN)


def hide(pixels_BHWC: Tensor, mask_BN: Tensor, patch: int) -> Tensor:
    """Images whose masked patches are mid-grey."""
    return unpatchify(patchify(pixels_BHWC, patch) * (~mask_BN)[..., None].to(pixels_BHWC.device), patch)


def masked_error(predicted_BNF: Tensor, wanted_BNF: Tensor, mask_BN: Tensor) -> Tensor:
    """Squared error averaged over values and masked patches."""
    error_BN = (predicted_BNF - wanted_BNF.detach()).square().mean(-1)
    mask_BN = mask_BN.to(error_BN.device)
    return (error_BN * mask_BN).sum() / mask_BN.sum()
