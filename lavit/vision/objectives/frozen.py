"""Features of a frozen encoder as what MaskFeat predicts: a finished vision stage teaches another one.

Shapes: B images, H W pixels, N patches, C channels of the teacher.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder
from lavit.vision.loading import load


class FrozenFeatures(nn.Module):
    """Features of a finished vision stage, each patch at zero mean and unit variance.

    Args:
        encoder: that is taught.
        folder: of the teacher's stage. A key knows it by name, not by content: give another teacher another name.

    Raises:
        LavitError: the teacher has another number of patches.
    """

    def __init__(self, encoder: VisionEncoder, folder: str):
        super().__init__()
        teacher = load(Path(folder))
        if (teacher.num_patches, teacher.image_size) != (encoder.num_patches, encoder.image_size):
            raise LavitError(
                f"vision.objective.feature.folder={folder}: its encoder makes {teacher.num_patches} patches of "
                f"{teacher.image_size} pixels' side, the one that is taught {encoder.num_patches} of "
                f"{encoder.image_size}",
                "give both the same image size and patch",
            )
        self.teacher = (teacher,)  # no part of what is trained and saved
        #: Values of a patch.
        self.dim = teacher.feature_dim

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Features [B, N, C] of images of -1 to 1."""
        (teacher,) = self.teacher
        bytes_BHWC = ((pixels_BHWC + 1) * 127.5).round().to(torch.uint8)
        return F.layer_norm(teacher(bytes_BHWC), (self.dim,))
