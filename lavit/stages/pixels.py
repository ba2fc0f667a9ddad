"""The pixel stage: one decoder from vision features to images, for all tokenizers of a study.

Shapes: B S images, N patches, C channels, P values of a patch's pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from lavit import data, vision
from lavit.build import build, plain
from lavit.data import Corpus
from lavit.ledger import Ledger, count_parameters
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
from lavit.vision.encoder import patchify

EVALUATED = 512  # images of the validation split that the stage's own metrics look at


class PixelTraining(StageModule):
    """The pixel decoder, fed with noisy features so that it bears reconstructed ones."""

    def __init__(self, config: DictConfig, corpus: Corpus, encoder: vision.VisionEncoder, seed: int):
        super().__init__()
        self.settings, self.corpus, self.seed = config, corpus, seed
        self.patch = encoder.patch
        shape = {"feature_dim": encoder.feature_dim, "grid": encoder.grid, "patch": encoder.patch}
        self.decoder = build(config.decoder, **shape)
        self.options = plain(config.decoder) | shape
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
        standard_BNC = (batch["features"] - self.decoder.mean_C) / self.decoder.std_C
        generator = step_generator(self.seed, step)
        amount_B11 = torch.rand(len(standard_BNC), 1, 1, generator=generator) * self.settings.noise
        standard_BNC = standard_BNC + amount_B11 * torch.randn(standard_BNC.shape, generator=generator)
        error_BNP = self.decoder.raw(standard_BNC) - patchify(batch["images"].float() / 255, self.patch)
        squared, absolute = (error_BNP**2).mean(), error_BNP.abs().mean()
        total = self.settings.loss.squared * squared + self.settings.loss.absolute * absolute
        return total, {"squared": squared.detach(), "absolute": absolute.detach()}

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """PSNR and the corpus' judge on images decoded from real features."""
        images = self.decoder(self.val_features)
        metrics = {"psnr": psnr(images, self.val_images.float() / 255)} | judge_images(self.corpus, "val", images)
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
    seen = steps * int(config.batch)
    total, trainable = count_parameters(module.decoder)
    flops = 3 * seen * forward_flops(module.decoder, module.features[:1])
    flops += len(module.images) * forward_flops(encoder, module.images[:1])
    Ledger(
        positions=seen * encoder.num_patches, flops=flops, params_total=total, params_trainable=trainable, steps=steps
    ).write(context.out)
