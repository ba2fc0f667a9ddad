"""The trial of a connector's own stage: a Q-Former's first."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from lavit.ledger import Ledger
from lavit.pricing.shapes import Shapes
from lavit.pricing.text import StandInStore, encoder_of
from lavit.pricing.trial import (
    ORDERED,
    Config,
    Trial,
    corpus_of,
    kept_places,
    order,
    sampled_steps,
    stand_in_size,
    text_of,
)
from lavit.stages.qformer import PURPOSE, QFormerStage
from lavit.stages.training import StageModule
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.tokenizer import Tokenizer


class QFormerTrial(QFormerStage):
    """The stage's module, begun without loading anything."""

    def __init__(self, config: DictConfig, inputs: dict[str, Config], visual: Tokenizer, device: str):
        StageModule.__init__(self)
        data: Any = OmegaConf.to_container(config.data)
        corpus = corpus_of(data)
        shape = {name: getattr(visual, name) for name in ("feature_dim", "num_places", "places_implied")}
        text = text_of(data, inputs["language"]["language"])
        with torch.device(device):
            self.begin(config.connector, corpus, text, shape, 0)
        self.counts = torch.zeros((), dtype=torch.float64)
        size = min(stand_in_size(corpus.size("train"), device), ORDERED)
        mean = kept_places(inputs["tokenizer"].get("tokens"), inputs["tokenizer"]["tokenizer"], visual.num_places)
        self.store = self.val_store = StandInStore(size, mean, visual, device)
        self.order = order(len(self.store), 0, PURPOSE)


def qformer(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """Queries and text side; its ledger is the stage's own, its text tokens those of some steps, times the steps."""
    node: Any = OmegaConf.create(dict(config))
    with torch.device(device):
        encoder = encoder_of(inputs["vision"])
        tokenizer = inputs["tokenizer"]
        shape = encoder.feature_dim, encoder.grid, encoder.patch
        visual = assemble(tokenizer.get("tokens"), tokenizer["tokenizer"], *shape)
    module = QFormerTrial(node, inputs, visual, device)
    steps, size = int(module.settings.steps), int(module.settings.batch)

    def ledger() -> Ledger:
        sampled = sampled_steps(steps, size)
        for step in sampled:
            module.counts += module.batch(step)["text"][:, 1:].sum()
        module.counts *= steps / max(1, len(sampled))
        with Shapes():
            return module.ledger()

    return Trial(module, module.network, ledger, steps, data=[module.store.features_MC])
