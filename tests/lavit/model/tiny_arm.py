"""Random arms small enough for tests, over images of 9 cells."""

import numpy as np
import torch

from lavit.language import TextTokenizer, build_llm
from lavit.model.lavit import LaVIT, build_lavit
from lavit.model.targets import ContinuousTarget, DiscreteTarget
from lavit.sequences import SequenceBuilder
from lavit.tokenizer.tokens import VisualTokens

WIDTH, FEATURES, CODES, DIM, PLACES = 32, 12, 20, 6, 9
TARGETS = {"discrete": DiscreteTarget, "continuous": ContinuousTarget}
TEXTS = ["a red circle", "blue", "a blue square and a red circle"]
BUILDER = SequenceBuilder(TextTokenizer.train([*TEXTS, "green"] * 5, 64))
PROMPTS = [BUILDER.generation(text, None) for text in TEXTS]
UNPROMPTED = BUILDER.drawing([], None)
CODEBOOK = torch.nn.functional.normalize(torch.randn(CODES, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)


def make(target: str, implied: bool = False, positions: str = "place") -> LaVIT:
    torch.manual_seed(0)
    config = {"width": WIDTH, "layers": 2, "heads": 2, "mlp_width": 48, "max_positions": 128}
    shape = {"num_places": PLACES, "places_implied": implied, "positions": positions, "feature_dim": FEATURES}
    shape["place_patches_MN"] = None if positions == "rank" else torch.eye(PLACES)
    connector = {"_target_": "lavit.connectors.mlp.MLP"}
    model = build_lavit(build_llm(config, len(BUILDER.text)), shape, CODEBOOK, connector, TARGETS[target], True, seed=3)
    with torch.no_grad():  # an untrained head is indifferent: give it opinions
        for part in model.head.parameters():
            part.add_(torch.randn(part.shape, generator=torch.Generator().manual_seed(part.numel())) * 0.3)
    return model.eval()


MODELS = {
    (t, p): make(t, p == "implied", "rank" if p == "rank" else "place")
    for t in TARGETS
    for p in ("place", "rank", "implied")
}


class Cells:
    """A tokenizer of 9 cells: a cell's brightness is its code; cells of brightness 0 are dropped."""

    paints = False

    def encode(self, images: np.ndarray) -> VisualTokens:
        return self.tokens(torch.as_tensor(images[..., 0]).flatten(1)[..., None].float())

    def tokens(self, features_BNC: torch.Tensor, keys_B: torch.Tensor | None = None) -> VisualTokens:
        codes = features_BNC[..., 0].round().long() % CODES
        keep = codes > 0
        keep[:, 0] |= ~keep.any(1)
        order = (~keep).int().argsort(dim=1, stable=True)
        mask = keep.gather(1, order)
        codes = codes.gather(1, order)
        features = torch.nn.functional.one_hot(codes, FEATURES + CODES)[..., :FEATURES].float()
        return VisualTokens(features, CODEBOOK[codes], codes, order, mask)

    def decode(self, vectors: torch.Tensor, places: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        codes = (vectors @ CODEBOOK.T).argmax(-1) * mask
        features = torch.zeros(len(codes), PLACES).scatter(1, places.where(mask, places.max()), codes.float())
        return features[..., None]
