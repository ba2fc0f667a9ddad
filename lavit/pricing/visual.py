"""Trials of the visual side's stages: vision, tokenizer and pixels.

Shapes: B images of a batch, S images of a split, N patches, M places, C feature width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from lavit.build import build, plain
from lavit.data import Corpus
from lavit.errors import LavitError
from lavit.ledger import Ledger, count_parameters
from lavit.pricing.shapes import Shapes, know
from lavit.pricing.text import encoder_of
from lavit.pricing.trial import Config, Trial, corpus_of, empty, evenly, kept_places, order, stand_in_size
from lavit.stages.fixed_tokenizer import FixedTokenizerTraining
from lavit.stages.pixel_tokenizer import PixelTokenizerTraining
from lavit.stages.pixels import PixelTraining
from lavit.stages.query_tokenizer import QueryTokenizerTraining
from lavit.stages.tokenizer import TokenizerTraining
from lavit.stages.training import StageModule
from lavit.stages.vision import VisionTraining, build_objective, is_released, released_encoder
from lavit.tokenizer.loading import assemble_dynamic
from lavit.tokenizer.selector import Selection
from lavit.vision.heads import TextTower, Vocabulary


class Intended(nn.Module):
    """A selector at work whose decisions are replaced by as many as the config asks for.

    Args:
        selector: the real one; it runs, so that it is counted.
        mean: tokens an image.
    """

    def __init__(self, selector: nn.Module, mean: float):
        super().__init__()
        self.selector, self.mean = selector, mean
        self.learned, self.tokens_per_image = selector.learned, selector.tokens_per_image
        self.mode = getattr(selector, "mode", "argmax")

    def forward(
        self, features_BMC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> Selection:
        """The intended number of places, the first ones, spread evenly over the images."""
        found = self.selector(features_BMC, generator, keys_B)
        batch, places, _ = features_BMC.shape
        count_B1 = torch.from_numpy(evenly(self.mean, batch)).clamp(1, places)[:, None]
        intended_BM = (torch.arange(places) < count_B1).float()
        if found.keep_BM.is_meta:
            return Selection(know(found.keep_BM, intended_BM), found.log_probs_BM2)
        return Selection(intended_BM + found.keep_BM - found.keep_BM.detach(), found.log_probs_BM2)


class VisionTrial(VisionTraining):
    """The vision stage's module over made-up images."""

    def __init__(self, config: Any, data: Config, device: str):
        StageModule.__init__(self)
        corpus = corpus_of(data)
        self.settings, self.corpus, self.seed = config, corpus, 0
        side, size = corpus.image_size, stand_in_size(corpus.size("train"), device)
        with torch.device(device):
            self.encoder = build(config.encoder, image_size=side)
        width, patch = self.encoder.feature_dim, self.encoder.patch
        self.images = torch.zeros(size, side, side, 3, dtype=torch.uint8, device=device)
        self.order = order(size, 0, purpose=0)
        first = corpus.patch_labels("train", np.arange(1), patch)
        self.labels = 0 if first is None else first.shape[-1]
        with torch.device(device):
            self.pixel_head = nn.Linear(width, patch * patch * 3)
            if self.labels:
                self.label_head = nn.Linear(width, self.labels)
        if not self.labels and not config.get("objective"):
            self.texts = list(corpus.captions("train", np.arange(corpus.size("train"))))
            self.vocabulary = Vocabulary((text for texts in self.texts for text in texts), config.words)
            with torch.device(device):
                self.tower = TextTower(len(self.vocabulary), width, config.joint_width)
        with torch.device(device):
            self.objective = build_objective(config, self.encoder)


class TokenizerTrial(TokenizerTraining):
    """The tokenizer stage's module over made-up features."""

    def __init__(self, config: Any, encoder: Any, corpus: Corpus, device: str):
        StageModule.__init__(self)
        self.settings, self.seed, self.steps = config.tokenizer, 0, int(config.tokenizer.steps)
        self.encoder = (encoder,)
        self.quantise_from = round(self.settings.warmup * self.steps)
        self.settled_from = self.steps - round(self.settings.settle * self.steps)
        tokens, options = plain(config.get("tokens")), plain(config.tokenizer)
        with torch.device(device):
            self.tokenizer = assemble_dynamic(tokens, options, encoder.feature_dim, encoder.grid)
        mean = kept_places(tokens, options, self.tokenizer.num_places)
        self.tokenizer.selector = Intended(self.tokenizer.selector, mean)
        size = stand_in_size(corpus.size("train"), device)
        self.features = empty(size, encoder.num_patches, encoder.feature_dim, device=device)
        self.order = order(len(self.features), 0, purpose=0)
        self.assigned = None
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))
        self.network, self.held = self.tokenizer, [self.features]

    def batch(self, step: int) -> Tensor:
        """Features of a step, not looked at for values that are not finite."""
        return self.features[torch.from_numpy(self.order.take(step, self.settings.batch))]

    def ledger(self, val_images: int) -> Ledger:
        """The stage's own; it counts what learns at its end."""
        selector_still, rest_still = self.frozen(self.steps - 1)
        for name, parameter in self.tokenizer.named_parameters():
            parameter.requires_grad_(not (selector_still if name.startswith("selector.") else rest_still))
        return super().ledger(val_images)


class FixedTrial(FixedTokenizerTraining):
    """What trials of fixed-length tokenizers share: the stage's own module over made-up images and features."""

    def __init__(self, config: Any, encoder: Any, corpus: Corpus, device: str):
        StageModule.__init__(self)
        size, side = stand_in_size(corpus.size("train"), device), encoder.image_size
        images = torch.zeros(size, side, side, 3, dtype=torch.uint8, device=device)
        features = empty(size, encoder.num_patches, encoder.feature_dim, device=device)
        self.begin(config, corpus, encoder, images, features, 0)
        self.order = order(size, 0, purpose=0)
        self.network, self.held = self, [images, features]


class PixelTokenizerTrial(FixedTrial, PixelTokenizerTraining):
    """The tokenizer stage over pixels."""


class QueryTokenizerTrial(FixedTrial, QueryTokenizerTraining):
    """The tokenizer stage over queries."""


#: Module that trains a tokenizer (``tokenizer.training``) -> its trial.
TOKENIZERS: dict[str, Any] = {
    "lavit.stages.tokenizer.TokenizerTraining": TokenizerTrial,
    "lavit.stages.pixel_tokenizer.PixelTokenizerTraining": PixelTokenizerTrial,
    "lavit.stages.query_tokenizer.QueryTokenizerTraining": QueryTokenizerTrial,
}


class PixelTrial(PixelTraining):
    """The pixel stage's module over made-up images and features."""

    def __init__(self, config: Any, size: int, encoder: Any, device: str):
        StageModule.__init__(self)
        self.settings, self.seed, self.encoder = config, 0, (encoder,)
        shape = {"feature_dim": encoder.feature_dim, "grid": encoder.grid, "patch": encoder.patch}
        with torch.device(device):
            self.decoder = build(config.decoder, **shape)
        size, side = stand_in_size(size, device), encoder.image_size
        self.images = torch.zeros(size, side, side, 3, dtype=torch.uint8, device=device)
        self.features = empty(size, encoder.num_patches, encoder.feature_dim, device=device)
        self.order = order(size, 0, purpose=0)


def vision(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """The encoder with its heads."""
    node: Any = OmegaConf.create(dict(config))
    if is_released(node.vision.encoder):
        with torch.device(device):
            encoder = released_encoder(node.vision, corpus_of(config["data"]).image_size)
        return Trial(StageModule(), encoder, lambda: Ledger(params_total=count_parameters(encoder)[0]), steps=0)
    module = VisionTrial(node.vision, config["data"], device)
    return Trial(module, module, _by_shapes(module.ledger), int(node.vision.steps), data=[module.images])


def tokenizer(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """A tokenizer of any kind; its ledger is the stage's own, over made-up images and features.

    Raises:
        LavitError: nothing is known of the module that trains it.
    """
    node: Any = OmegaConf.create(dict(config))
    with torch.device(device):
        encoder = encoder_of(inputs["vision"])
    corpus, training = corpus_of(config["data"]), str(node.tokenizer.training)
    if training not in TOKENIZERS:
        raise LavitError(f"tokenizer.training={training!r} cannot be priced", f"known: {', '.join(TOKENIZERS)}")
    module = TOKENIZERS[training](node, encoder, corpus, device)
    counted = _by_shapes(lambda: module.ledger(corpus.size("val")))
    return Trial(module, module.network, counted, module.steps, data=module.held)


def pixels(config: Config, inputs: dict[str, Config], device: str) -> Trial:
    """The pixel decoder."""
    node: Any = OmegaConf.create(dict(config))
    with torch.device(device):
        encoder = encoder_of(inputs["vision"])
    module = PixelTrial(node.pixels, corpus_of(config["data"]).size("train"), encoder, device)
    data = [module.images, module.features]
    return Trial(module, module.decoder, _by_shapes(module.ledger), int(node.pixels.steps), data=data)


def _by_shapes(ledger: Callable[[], Ledger]) -> Callable[[], Ledger]:
    """A stage's own ledger, counted on tensors that have no values."""

    def counted() -> Ledger:
        with Shapes():
            return ledger()

    return counted
