"""Small arms whose images stand beside the sequence, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from tiny_arm import BUILDER, CODEBOOK, FEATURES, PLACES, WIDTH
from torch import Tensor, nn

from lavit.connectors.image import ImageConnector
from lavit.language import build_llm
from lavit.model.lavit import LaVIT, build_lavit
from lavit.sequences import VisualStore

GATES = {"_target_": "lavit.model.gated.Gates", "every": 1, "heads": 2, "head_width": 8, "ratio": 2.0}
ENTRIES: dict[str, Any] = {
    "in_sequence": {"name": "in_sequence", "in_sequence": True, "gates": None},
    "gated": {"name": "gated", "in_sequence": False, "gates": GATES},
    "hybrid": {"name": "hybrid", "in_sequence": True, "gates": GATES},
}
CONNECTORS: dict[str, Any] = {
    "row_wise": {"_target_": "lavit.connectors.mlp.MLP"},
    "image_wise": {"_target_": "gated_arm.Halves"},
    "codes": None,
}


class Halves(ImageConnector):
    """Two embeddings an image: of the mean of the first half of its patches, and of the second."""

    def __init__(self, feature_dim: int, width: int, patches: int):
        super().__init__(feature_dim, width, patches, 2)
        self.matrix = nn.Linear(feature_dim, width)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        half = self.patches // 2
        return self.matrix(torch.stack([features_BNC[:, :half].mean(1), features_BNC[:, half:].mean(1)], 1))


def make(entry: str, connector: str = "row_wise", opened: float = 0.0, llm: nn.Module | None = None) -> LaVIT:
    """An arm; ``opened`` is what its gates stand at."""
    torch.manual_seed(0)
    config = {"width": WIDTH, "layers": 2, "heads": 2, "mlp_width": 48, "max_positions": 128}
    shape = {"num_places": PLACES, "places_implied": connector == "image_wise", "positions": "place"}
    shape |= {"feature_dim": FEATURES, "place_patches_MN": torch.eye(PLACES)}
    language: Any = llm or build_llm(config, len(BUILDER.text))
    model = build_lavit(language, shape, CODEBOOK, CONNECTORS[connector], None, True, 3, ENTRIES[entry])
    for block in model.gates or ():
        nn.init.constant_(block.attention_gate, opened)
        nn.init.constant_(block.feed_gate, opened)
    if opened:
        with torch.no_grad():  # the LLM's own initial weights are so small that it hardly says anything
            for parameter in model.llm.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(6)
    return model.eval()


def store_of(model: LaVIT, images: int = 4) -> VisualStore:
    """Random images as this model reads them."""
    generator = torch.Generator().manual_seed(0)
    counts = [PLACES] * images if model.slots is not None else [3, 1, 5, 2, 4, 2][:images]
    rows = sum(counts)
    codes = torch.randint(0, len(CODEBOOK), (rows,), generator=generator)
    places = torch.cat([torch.arange(count) for count in counts])
    features = 2 * torch.randn(rows, FEATURES, generator=generator)
    store = VisualStore(features, CODEBOOK[codes], codes, places, torch.tensor([0, *counts]).cumsum(0))
    store.slots, store.beside = model.slots, model.beside
    return store
