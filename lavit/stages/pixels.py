"""The pixel stage: one decoder from vision features to images, for all tokenizers of a study.

What it learns from is the decoder's own affair (``decoder.loss``); the stage feeds it, judges what it paints of real
features, which is the ceiling of every tokenizer and arm that is drawn with it, and accounts for the cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lavit import data, vision
from lavit.build import build, plain
from lavit.data import Corpus
from lavit.ledger import Ledger, count_parameters
from lavit.pixels.ceiling import feature_cosine
from lavit.pixels.protocol import PixelDecoder
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.outputs import (
    channel_statistics,
    forward_flops,
    judge_images,
    load_features,
    load_images,
    psnr,
    save_weights,
    write_json,
)
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator

EVALUATED = 512  # images of the validation split that the stage's own metrics look at


class PixelTraining(StageModule):
    """A pixel decoder and the images that it learns to paint."""

    def __init__(self, config: DictConfig, corpus: Corpus, encoder: vision.VisionEncoder, seed: int):
        super().__init__()
        self.settings, self.corpus, self.seed = config, corpus, seed
        self.encoder = (encoder,)  # in a tuple: no part of what is trained and saved
        shape = {"feature_dim": encoder.feature_dim, "grid": encoder.grid, "patch": encoder.patch}
        self.decoder: PixelDecoder = build(config.decoder, **shape)
        self.decoder.initialise()
        self.options = plain(config.decoder) | shape | self.decoder.architecture()
        self.images = load_images(corpus, "train")
        self.features = load_features(encoder, self.images)
        self.decoder.mean_C, self.decoder.std_C = channel_statistics(self.features)
        self.order = DataOrder(len(self.images), seed, purpose=0)
        self.val_images = load_images(corpus, "val", EVALUATED)
        self.val_features = load_features(encoder, self.val_images)

    def batch(self, step: int) -> dict[str, Any]:
        index_B = self.order.take(step, self.settings.batch)
        return {"images": self.images[index_B], "features": self.features[index_B]}

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Any]]:
        return self.decoder.loss(batch["features"], batch["images"], step_generator(self.seed, step))

    def ledger(self) -> Ledger:
        """Training costs three forward passes an image; the features cost one of the encoder for each image."""
        steps, encoder = int(self.settings.steps), self.encoder[0]
        seen = steps * int(self.settings.batch)
        total, trainable = count_parameters(self.decoder)
        one = self.features[:1], self.images[:1], step_generator(self.seed, 0)
        flops = 3 * seen * forward_flops(self.decoder.loss, *one)
        flops += len(self.images) * forward_flops(encoder, self.images[:1])
        return Ledger(
            positions=seen * encoder.num_patches,
            flops=flops,
            params_total=total,
            params_trainable=trainable,
            steps=steps,
        )

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """The ceilings, on images decoded from real features: PSNR, the corpus' judge, and the encoder's cosine."""
        decoder = self.decoder
        images = decoder(self.val_features).cpu()
        objects_SN = self.corpus.object_patches("val", np.arange(len(images)), self.encoder[0].patch)
        metrics = {"psnr": psnr(images, self.val_images.float() / 255)} | judge_images(self.corpus, "val", images)
        metrics |= feature_cosine(
            self.encoder[0], images, self.val_features, decoder.mean_C.cpu(), decoder.std_C.cpu(), objects_SN
        )
        return {f"pixels/{name}": value for name, value in metrics.items()}


def run(context: StageContext) -> None:
    """Train the pixel decoder on the features of the finished vision stage."""
    config = context.config.pixels
    corpus = data.build(context.config.data)
    encoder = vision.load(context.inputs["vision"])
    torch.manual_seed(context.seed)
    module = PixelTraining(config, corpus, encoder, context.seed)
    steps = int(config.steps)
    fit(module, context, steps, OptimizerConfig(**plain(config.optimizer)), validate_at=plain(config.validate_at))
    save_weights(context.out / "decoder.safetensors", module.decoder)
    write_json(context.out / "config.json", {"decoder": module.options})
    write_json(context.out / "metrics.json", module.validate(steps))
    module.ledger().write(context.out)
