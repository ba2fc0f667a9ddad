"""The tokenizer stage over pixels (VQGAN): reconstruct the image, and, if asked to, fool a discriminator.

Loss = |x - x'| + squared * |x - x'|^2 + perceptual * |f(x) - f(x')|^2 + codebook + beta * commitment
+ weight * lambda * adversarial. The absolute error alone (as published) is content with the background for long where
objects are small; LPIPS is replaced by features of the frozen vision encoder (``perceptual``); lambda is the adaptive
weight of :mod:`lavit.tokenizer.pixel.adversary`, and the discriminator enters at ``adversary.start``.

Shapes: B images, H W S pixels, N patches, M tokens, C channels of the vision features, D code dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from lavit import vision
from lavit.build import plain
from lavit.data import Corpus
from lavit.errors import LavitError
from lavit.stages.fixed_tokenizer import FixedTokenizerTraining
from lavit.stages.outputs import forward_flops
from lavit.tokenizer.pixel.adversary import PatchDiscriminator, adaptive_weight, hinge_loss, judged
from lavit.tokenizer.pixel.tokenizer import PixelTokenizer
from lavit.vision.encoder import scale_pixels


class PixelTokenizerTraining(FixedTokenizerTraining):
    """A pixel tokenizer, its objective, and its discriminator where there is one."""

    tokenizer: PixelTokenizer

    def begin(
        self,
        config: DictConfig,
        corpus: Corpus,
        encoder: vision.VisionEncoder,
        images_SHWC: Tensor,
        features_SNC: Tensor,
        seed: int,
    ) -> None:
        """See the base class.

        Raises:
            LavitError: a perceptual loss is asked for of an encoder that reads bytes alone.
        """
        super().begin(config, corpus, encoder, images_SHWC, features_SNC, seed)
        if self.settings.perceptual and not hasattr(encoder, "from_pixels"):
            raise LavitError(
                f"tokenizer.perceptual={self.settings.perceptual}: no gradient passes through {type(encoder).__name__}",
                "set tokenizer.perceptual=0",
            )
        adversary = self.settings.adversary
        self.judged_from = round(adversary.start * self.steps)
        self.discriminator = None
        if adversary.weight:
            with torch.device(features_SNC.device):
                self.discriminator = PatchDiscriminator(**plain(adversary.network))

    def batch(self, step: int) -> Tensor:
        """Pixels [B, H, W, 3] in -1 … 1."""
        index_B = torch.from_numpy(self.order.take(step, self.settings.batch))
        return scale_pixels(self.images[index_B])

    def vectors_of(self, index: Any) -> Tensor:
        """See the base class."""
        return self.tokenizer.quantizer.vectors(self.tokenizer.latents(scale_pixels(self.images[index])))

    def edges(self) -> list[int]:
        """See the base class: the codebook, then the discriminator."""
        return sorted({*super().edges(), min(self.judged_from, self.steps)})

    def plays(self, step: int) -> bool:
        """Whether the discriminator takes part in a step."""
        return self.discriminator is not None and step >= self.judged_from

    def loss(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, Any]]:
        """See the module's docstring."""
        tokenizer, settings = self.tokenizer, self.settings
        vectors_BMD = tokenizer.quantizer.vectors(tokenizer.latents(batch))
        vectors_BMD, pull, metrics = self.quantise(vectors_BMD, step)
        painted_BHWC = tokenizer.raw(vectors_BMD)
        error_BHWC = painted_BHWC - batch
        recon = error_BHWC.abs().mean()
        metrics["absolute"] = recon.detach()
        if settings.squared:
            recon = recon + settings.squared * error_BHWC.square().mean()
        if settings.perceptual:
            alike = self.perceptual_loss(painted_BHWC, batch)
            metrics["perceptual"] = alike.detach()
            recon = recon + settings.perceptual * alike
        total = recon + pull
        if self.plays(step):
            assert self.discriminator is not None
            painted_B3HW, real_B3HW = (x.permute(0, 3, 1, 2) for x in (painted_BHWC, batch))
            fooled = judged(self.discriminator, painted_B3HW)
            balance = settings.adversary.weight * adaptive_weight(recon, fooled, tokenizer.decoder.last_weight)
            told_apart = hinge_loss(self.discriminator, real_B3HW, painted_B3HW)
            total = total + balance * fooled + told_apart
            metrics |= {"balance": balance, "fooled": fooled.detach(), "hinge": told_apart.detach()}
        return total, metrics

    def perceptual_loss(self, painted_BHWC: Tensor, truth_BHWC: Tensor) -> Tensor:
        """Mean squared error of the frozen encoder's features, standardised, between painted and true pixels."""
        look: Any = self.encoder[0]
        with torch.no_grad():
            truth_BNC = self.tokenizer.standardise(look.from_pixels(truth_BHWC))
        return F.mse_loss(self.tokenizer.standardise(look.from_pixels(painted_BHWC)), truth_BNC)

    def step_flops(self, step: int) -> float:
        """Tokenizer: three forward passes. Discriminator: one, and two backward through its activations, to judge what
        is painted and weigh that; three each for real and painted images. Encoder of a perceptual loss: one for the
        truth; one, and one backward, for what is painted."""
        tokenizer, batch, side = self.tokenizer, int(self.settings.batch), self.tokenizer.side
        device = tokenizer.mean_C.device
        pixels_BHWC = torch.zeros(batch, side, side, 3, device=device)
        flops = 3 * forward_flops(lambda: tokenizer.raw(tokenizer.quantizer.vectors(tokenizer.latents(pixels_BHWC))))
        if self.plays(step):
            assert self.discriminator is not None
            flops += 9 * forward_flops(self.discriminator, pixels_BHWC.permute(0, 3, 1, 2))
        if self.settings.perceptual:
            look: Any = self.encoder[0]
            flops += 3 * forward_flops(look.from_pixels, pixels_BHWC)
        return flops
