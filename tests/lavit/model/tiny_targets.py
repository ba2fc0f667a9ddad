"""A random arm for each target, over images of 9 patches: all of them, or those that a tokenizer kept."""

from functools import partial
from typing import Any

import torch

from lavit.language import TextTokenizer, build_llm
from lavit.model.lavit import LaVIT, build_lavit
from lavit.model.targets import ContinuousTarget, DiscreteTarget, Target
from lavit.model.targets.cosine import CosineTarget
from lavit.model.targets.emu import EmuTarget
from lavit.model.targets.feature import FeatureTarget
from lavit.sequences import SequenceBuilder, VisualStore

WIDTH, FEATURES, CODES, DIM, PLACES, SLOTS = 32, 12, 20, 6, 9, 4
BUILDER = SequenceBuilder(TextTokenizer.train(["a red circle and a blue square"] * 5, 64))
CODEBOOK = torch.nn.functional.normalize(torch.randn(CODES, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)
MLP = {"_target_": "lavit.connectors.mlp.MLP"}
FORMER = {"_target_": "lavit.connectors.causal_former.CausalFormer", "depth": 2, "hidden": 16, "heads": 2}
READOUT = {"width": 16, "blocks": 1, "heads": 2}
TARGETS: dict[str, Any] = {
    "discrete": DiscreteTarget,
    "continuous": ContinuousTarget,
    "cosine": CosineTarget,
    "cosine of features": partial(CosineTarget, space="feature", layers=2),
    "feature": FeatureTarget,
    "emu": partial(EmuTarget, readout=READOUT),
    "collapse": partial(EmuTarget, readout=READOUT, stop_gradient=False, control=True),
}
LEGAL = [name for name in TARGETS if name != "collapse"]


def make(target: Any, connector: Any = None, implied: bool | None = None, slots: int = SLOTS) -> LaVIT:
    """The arm of a target's name, or of what makes one."""
    torch.manual_seed(0)
    whole = target in ("emu", "collapse")
    config = {"width": WIDTH, "layers": 2, "heads": 2, "mlp_width": 48, "max_positions": 128}
    shape = {
        "num_places": PLACES,
        "places_implied": whole if implied is None else implied,
        "positions": "place",
        "feature_dim": FEATURES,
        "place_patches_MN": torch.eye(PLACES),
    }
    connector = connector or ({**FORMER, "tokens": slots} if whole else MLP)
    llm = build_llm(config, len(BUILDER.text))
    return build_lavit(llm, shape, CODEBOOK, connector, TARGETS.get(target, target), True, seed=3).eval()


def store_for(model: LaVIT) -> VisualStore:
    """Four images: of all patches where the arm reads them whole, else of some."""
    generator = torch.Generator().manual_seed(0)
    counts = [PLACES] * 4 if model.slots else [3, 1, 5, 2]
    places = torch.cat([torch.randperm(PLACES, generator=generator)[:n].sort().values for n in counts])
    codes = torch.randint(0, CODES, (sum(counts),), generator=generator)
    features = torch.randn(sum(counts), FEATURES, generator=generator)
    store = VisualStore(features, CODEBOOK[codes], codes, places, torch.tensor([0, *counts]).cumsum(0))
    store.slots, store.writes_slots = model.slots, model.writes_slots
    return store


def target_of(model: LaVIT) -> Target:
    """The target of an arm that has one."""
    assert model.head is not None
    return model.head.target
