"""Masked feature prediction (MaskFeat, Wei et al. 2022): mask tokens enter, what the patches held is predicted.

Shapes: B images, H W pixels, N patches, C channels, F values of a patch's feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lavit.build import build
from lavit.vision.encoder import VisionEncoder
from lavit.vision.objectives.masking import MaskedObjective


class MaskFeat(MaskedObjective):
    """See the module's docstring: all patches enter, masked ones as one learned token at their place, and one linear
    layer on the encoder's output predicts.

    Masks are drawn patch by patch; MaskFeat draws them in blocks.

    Args:
        encoder: see :class:`~lavit.vision.objectives.masking.MaskedObjective`.
        ratio: masked share (MaskFeat: 0.4).
        feature: node of what is predicted, built with ``encoder``: :class:`~lavit.vision.objectives.hog.HOG` or
            :class:`~lavit.vision.objectives.frozen.FrozenFeatures`.
    """

    def __init__(self, encoder: VisionEncoder, ratio: float, feature: Mapping[str, Any]):
        super().__init__(encoder, ratio)
        self.feature: nn.Module = build(feature, encoder=encoder)
        self.token_C = nn.Parameter(torch.zeros(encoder.feature_dim))
        self.leave = nn.Linear(encoder.feature_dim, int(self.feature.dim))
        nn.init.trunc_normal_(self.token_C, std=0.02)

    def predict(self, encoder: VisionEncoder, pixels_BHWC: Tensor, mask_BN: Tensor) -> Tensor:
        """Features of every patch."""
        x_BNC = encoder.embed(pixels_BHWC)
        mask_BN1 = mask_BN[..., None].to(x_BNC.device)
        return self.leave(encoder.attend(torch.where(mask_BN1, self.token_C + encoder.place_NC, x_BNC)))

    def wanted(self, pixels_BHWC: Tensor, patch: int) -> Tensor:
        """Features of every patch."""
        with torch.no_grad():
            return self.feature(pixels_BHWC)
