"""From visual tokens to pictures: by the pixel decoder from features, or by a tokenizer that paints pixels itself.

Shapes: B images, H W pixels, N patches, C feature width, K visual tokens, D code dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from lavit.tokenizer.base import VisualTokenizer


def decode(tokenizer: VisualTokenizer, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
    """What the tokenizer makes of tokens: features [B, N, C]; pixels [B, H, W, 3] in 0 … 1 where it paints."""
    into = tokenizer.paint if tokenizer.paints else tokenizer.decode
    return into(vectors_BKD, places_BK, mask_BK)


def show(tokenizer: VisualTokenizer, pixels: nn.Module, vision: Any, decoded: Tensor) -> tuple[np.ndarray, Tensor]:
    """Pictures uint8 [B, H, W, 3] and vision features [B, N, C] of what :func:`decode` gave.

    Features are those that the pixel decoder painted; of a tokenizer that paints, those that the vision encoder sees
    in the pictures.

    Args:
        tokenizer: whose tokens were decoded.
        pixels: the pixel decoder, not asked where the tokenizer paints.
        vision: the vision encoder.
        decoded: what :func:`decode` gave.
    """
    if tokenizer.paints:
        pictures = to_uint8(decoded)
        return pictures, vision(pictures)
    return to_uint8(pixels(decoded)), decoded


def to_uint8(images_BHWC: Tensor) -> np.ndarray:
    """Pixels in [0, 1] to bytes."""
    return (images_BHWC.clamp(0, 1) * 255).round().byte().cpu().numpy()
