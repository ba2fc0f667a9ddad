"""How much of an image survives a decoder, in the encoder's own eyes.

Shapes: S images, H W pixels, N patches, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 128


@torch.no_grad()
def feature_cosine(
    encoder: nn.Module,
    images_SHWC: Tensor,
    truth_SNC: Tensor,
    mean_C: Tensor,
    std_C: Tensor,
    objects_SN: np.ndarray | None = None,
) -> dict[str, float]:
    """Cosine of the features of decoded images with the true ones, patch by patch, both standardised.

    Args:
        encoder: the vision encoder.
        images_SHWC: decoded images in 0 … 1.
        truth_SNC: features of the real images.
        mean_C, std_C: what standardises a channel.
        objects_SN: the patches that show a part of an object; None where that is unknown.

    Returns:
        ``cosine``, the mean over all patches, and ``cosine_objects``, that over ``objects_SN``, where it is known.
    """
    pixels = (images_SHWC.clamp(0, 1) * 255).round().to(torch.uint8)
    seen_SNC = torch.cat([encoder(part) for part in pixels.split(BATCH)])
    cosine_SN = F.cosine_similarity((seen_SNC - mean_C) / std_C, (truth_SNC - mean_C) / std_C, dim=-1)
    scores = {"cosine": float(cosine_SN.mean())}
    if objects_SN is not None and objects_SN.any():
        scores["cosine_objects"] = float(cosine_SN[torch.from_numpy(objects_SN)].mean())
    return scores
