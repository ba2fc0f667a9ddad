"""A random arm and images for it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_arm import BUILDER, MODELS, Cells

from lavit.model.vision_language import Arm


@pytest.fixture(scope="module")
def arm() -> Arm:
    def pixels(features_BNC: torch.Tensor) -> torch.Tensor:
        return features_BNC.view(-1, 3, 3, 1).expand(-1, -1, -1, 3) / 255

    return Arm(MODELS["discrete", "place"], BUILDER.text, SimpleNamespace(image_size=3), Cells(), pixels)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 6, (2, 3, 3, 1), np.uint8).repeat(3, -1)
