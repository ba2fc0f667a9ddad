"""The tokenizer stage: learn which patches matter, merge the rest into them, and name the result by codes.

First selector and merger train without quantisation; then the codebook is made by k-means from their tokens and all
goes on together. From step 0 on with a codebook, few codes live and the encoder collapses onto them.

Shapes: B S images, N patches, M places, R tokens, C channels, D code dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lavit import data, vision
from lavit.build import plain
from lavit.data import Corpus
from lavit.ledger import Ledger, count_parameters
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.outputs import (
    channel_statistics,
    forward_flops,
    load_features,
    load_images,
    save_weights,
    write_json,
)
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.metrics import tokenizer_metrics
from lavit.tokenizer.objective import commitment_loss, keep_loss, mixed_vectors, reconstruction_loss
from lavit.tokenizer.selector import image_keys
from lavit.tokenizer.tokens import PackedTokens, pack

EVALUATED = 1024  # images of the validation split that the stage's own metrics look at
SELECT, RESTART, KMEANS, SAMPLE = 1, 2, 3, 4  # purposes of a step's generators


class TokenizerTraining(StageModule):
    """Tokenizer and its objective, over the cached features of the frozen encoder."""

    def __init__(self, config: DictConfig, corpus: Corpus, encoder: vision.VisionEncoder, head: Any, seed: int):
        super().__init__()
        self.settings, self.seed = config.tokenizer, seed
        self.steps = int(config.tokenizer.steps)
        self.quantise_from = round(self.settings.warmup * self.steps)
        self.tokenizer = assemble(plain(config.tokens), plain(config.tokenizer), encoder.feature_dim, encoder.grid)
        images = load_images(corpus, "train")
        self.keys = image_keys(images)
        self.features = load_features(encoder, images)
        mean_C, std_C = channel_statistics(self.features)
        if self.settings.standardise:
            self.tokenizer.mean_C, self.tokenizer.std_C = mean_C, std_C
        self.order = DataOrder(len(images), seed, purpose=0)
        self.val = self._evaluation(corpus, encoder, head)
        self.assigned: tuple[Tensor, Tensor] | None = None
        self.revived = 0

    @staticmethod
    def _evaluation(corpus: Corpus, encoder: vision.VisionEncoder, head: Any) -> dict[str, Any]:
        images = load_images(corpus, "val", EVALUATED)
        index = np.arange(len(images))
        objects = corpus.object_patches("val", index, encoder.patch)
        labels = corpus.patch_labels("val", index, encoder.patch)
        return {
            "features_SNC": load_features(encoder, images),
            "keys_S": image_keys(images),
            "complexity": corpus.complexity("val", index),
            "objects_SN": None if objects is None else torch.from_numpy(objects),
            "labels_SNL": None if labels is None else torch.from_numpy(labels),
            "head": head,
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The selector may learn at a rate of its own."""
        selector = list(self.tokenizer.selector.parameters())
        rest = [p for name, p in self.tokenizer.named_parameters() if not name.startswith("selector.")]
        groups = [{"params": rest}]
        return [*groups, {"params": selector, "lr_scale": self.settings.selector_lr_scale}] if selector else groups

    def batch(self, step: int) -> Tensor:
        return self.features[self.order.take(step, self.settings.batch)]

    def loss(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, Any]]:
        tokenizer, settings = self.tokenizer, self.settings
        standard_BNC = tokenizer.standardise(batch)
        held = tokenizer.places(standard_BNC, step_generator(self.seed, step, SELECT))
        keep_BM, vectors_BMD = held.selection.keep_BM, held.vectors_BMD
        places_BM = torch.arange(tokenizer.num_places).expand(len(batch), -1)
        metrics: dict[str, Any] = {}
        total = torch.zeros(())
        if step >= self.quantise_from and settings.quantise:
            with torch.no_grad():
                codes_BM = tokenizer.quantizer.codes(vectors_BMD)
                kept_BM = keep_BM > 0.5
                self.assigned = vectors_BMD[kept_BM], codes_BM[kept_BM]
            quantised_BMD = tokenizer.lookup(codes_BM)
            commitment = commitment_loss(vectors_BMD, quantised_BMD, keep_BM)
            total = total + settings.commitment * commitment
            metrics |= {"commitment": commitment.detach(), "revived": self.revived}
            vectors_BMD = mixed_vectors(vectors_BMD, quantised_BMD, settings.bypass)
        decoded_BNC = tokenizer.decoder(vectors_BMD, places_BM, keep_BM)
        recon = reconstruction_loss(decoded_BNC, standard_BNC, settings.loss.cosine, settings.loss.squared)
        total = total + recon
        metrics |= {"reconstruction": recon.detach(), "kept": keep_BM.detach().sum(1).mean()}
        if tokenizer.selector.learned:
            total = total + settings.keep.weight * keep_loss(keep_BM, settings.keep.rate, settings.keep.per)
        return total, metrics

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Make the codebook when the warm-up ends, and move it after every step from then on."""
        if not self.settings.quantise:
            return
        if step == self.quantise_from - 1 or (step == 0 and self.quantise_from == 0):
            self._initialise_codebook(step)
        if self.assigned is not None:
            generator = step_generator(self.seed, step, RESTART)
            self.revived = self.tokenizer.quantizer.update(*self.assigned, generator)
            self.assigned = None

    def _initialise_codebook(self, step: int) -> None:
        index = self.order.take(step, min(int(self.settings.init_images), len(self.features)))
        rows = []
        for part in torch.from_numpy(index).split(256):
            generator = step_generator(self.seed, step + int(part[0]), KMEANS)
            held = self.tokenizer.places(self.tokenizer.standardise(self.features[part]), generator)
            rows.append(held.vectors_BMD[held.selection.keep_BM > 0.5])
        self.tokenizer.quantizer.initialise(torch.cat(rows), step_generator(self.seed, step, KMEANS))

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """See :mod:`lavit.tokenizer.metrics`."""
        return tokenizer_metrics(self.tokenizer, generator=step_generator(self.seed, step, SAMPLE), **self.val)

    @torch.no_grad()
    def encode_all(self, features_SNC: Tensor, keys_S: Tensor) -> PackedTokens:
        """Tokens of many images, packed."""
        parts = zip(features_SNC.split(256), keys_S.split(256), strict=True)
        return pack([self.tokenizer.tokens(features, keys_B=keys) for features, keys in parts])


def run(context: StageContext) -> None:
    """Train the tokenizer of one seed, and encode the training and validation splits with it once and for all."""
    config = context.config
    corpus = data.build(config.data)
    encoder = vision.load(context.inputs["vision"])
    head = vision.load_label_head(context.inputs["vision"])
    torch.manual_seed(context.seed)
    module = TokenizerTraining(config, corpus, encoder, head, context.seed)
    steps = module.steps
    optimizer = OptimizerConfig(**plain(config.tokenizer.optimizer))
    fit(module, context, steps, optimizer, validate_at=plain(config.tokenizer.validate_at))
    tokenizer = module.tokenizer
    save_weights(context.out / "tokenizer.safetensors", tokenizer)
    options = {
        "tokens": plain(config.tokens),
        "tokenizer": plain(config.tokenizer),
        "feature_dim": encoder.feature_dim,
        "grid": encoder.grid,
    }
    write_json(context.out / "config.json", options)
    write_json(context.out / "metrics.json", module.validate(steps))
    module.encode_all(module.features, module.keys).save(context.out / "tokens-train.safetensors")
    images = load_images(corpus, "val")
    module.encode_all(load_features(encoder, images), image_keys(images)).save(context.out / "tokens-val.safetensors")
    _ledger(module, encoder, len(images)).write(context.out)


def _ledger(module: TokenizerTraining, encoder: vision.VisionEncoder, val_images: int) -> Ledger:
    """Training costs three forward passes a step; caching the features costs one of the encoder for each image."""
    tokenizer, one_1NC = module.tokenizer, module.features[:1]
    held = tokenizer.places(one_1NC, step_generator(0, 0))
    places_1M = torch.arange(tokenizer.num_places)[None]
    once = forward_flops(tokenizer.places, one_1NC, step_generator(0, 0))
    once += forward_flops(tokenizer.decoder, held.vectors_BMD, places_1M, held.selection.keep_BM)
    side = encoder.grid * encoder.patch
    encoder_once = forward_flops(encoder, torch.zeros(1, side, side, 3, dtype=torch.uint8))
    seen = module.steps * int(module.settings.batch)
    total, trainable = count_parameters(tokenizer)
    return Ledger(
        positions=seen * encoder.num_patches,
        flops=3 * seen * once + (len(module.features) + val_images) * encoder_once,
        params_total=total,
        params_trainable=trainable,
        steps=module.steps,
    )
