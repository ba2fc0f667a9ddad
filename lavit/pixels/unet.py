"""LaVIT's pixel decoder: a U-Net that denoises an image under the eyes of its vision features (arXiv 2309.04669).

The U-Net is diffusers'; it attends to one condition token a patch. It denoises Stable Diffusion's latents where it is
given an autoencoder, and otherwise pixels, small squares of which are folded into channels.

Shapes: B images, N patches, C channels of a feature, H W pixels, c h w channels, rows and columns of what is denoised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lavit.build import build
from lavit.errors import LavitError
from lavit.pixels.conditioning import TIME_IDS, Condition, Conditioning
from lavit.pixels.networks import build_unet, build_vae, describe, load_weights, read_options
from lavit.pixels.objective import Objective
from lavit.pixels.protocol import PixelDecoder


class UNetPixelDecoder(PixelDecoder):
    """A conditional denoising U-Net over pixels or latents, with classifier-free guidance.

    Args:
        feature_dim: channels C of the features.
        grid: patches along a side.
        patch: side of a patch in pixels.
        unet: arguments of diffusers' ``UNet2DConditionModel``; ``sample_size`` and the channels that enter and
            leave follow from the image. With ``addition_embed_type: text_time`` (Stable Diffusion XL) the condition
            is LaVIT's high-resolution one.
        objective: a config node of :mod:`lavit.pixels.objective`.
        steps: calls of the U-Net for an image.
        guidance: scale g of classifier-free guidance (arXiv 2207.12598): u + g (p - u) of the predictions p with and
            u without the condition. At 1 the latter is not asked for.
        drop: share of training images whose condition is taken away, so that u can be learned.
        unconditional, beside, pool_heads: see :class:`~lavit.pixels.conditioning.Conditioning`.
        fold: side of the squares of pixels that are folded into channels; an autoencoder has its own.
        size: side in pixels at which it paints, if not that of the corpus; images are resized on the way in and out.
        vae: local folder of an ``AutoencoderKL``, its arguments (random weights), or None for pixels.
        unet_weights: local folder of U-Net weights to begin with; None for random ones.
        noise: see :class:`~lavit.pixels.protocol.PixelDecoder`.
        batch: images sampled at once.
        seed: of the first noise, which is the same for every image.

    Raises:
        LavitError: diffusers is missing, a path is, or sizes do not fit together.
    """

    def __init__(
        self,
        feature_dim: int,
        grid: int,
        patch: int,
        unet: Mapping[str, Any],
        objective: Mapping[str, Any],
        steps: int,
        guidance: float,
        drop: float = 0.1,
        unconditional: str = "zero",
        beside: int = 0,
        pool_heads: int = 16,
        fold: int = 1,
        size: int | None = None,
        vae: str | Mapping[str, Any] | None = None,
        unet_weights: str | None = None,
        noise: float = 0.3,
        batch: int = 64,
        seed: int = 0,
    ):
        super().__init__(feature_dim, noise)
        self.image_size = grid * patch
        self.size = size or self.image_size
        self.objective: Objective = build(objective)
        self.steps, self.guidance, self.drop, self.batch, self.seed = steps, guidance, drop, batch, seed
        self.paths = {"vae": vae if isinstance(vae, str) else None, "unet_weights": unet_weights}
        self.vae: Any = None
        self.fold, channels = fold, 3 * fold**2
        if vae is not None:
            self.vae = build_vae(read_options("vae", vae) if isinstance(vae, str) else vae)
            self.fold = 2 ** (len(self.vae.config.block_out_channels) - 1)
            channels = self.vae.config.latent_channels
        self._check()
        side = self.size // self.fold
        self.shape = (channels, side, side)
        self.unet: Any = build_unet(unet, sample_size=side, in_channels=channels + beside, out_channels=channels)
        self.conditioning = Conditioning(feature_dim, grid, side, self.unet.config, beside, unconditional, pool_heads)

    def _check(self) -> None:
        if self.size % self.fold:
            raise LavitError(f"pixels.decoder: squares of {self.fold} pixels do not fill a side of {self.size}")
        if self.guidance != 1 and not self.drop:
            raise LavitError(
                f"pixels.decoder.guidance={self.guidance} guides away from predictions without a condition, which "
                "pixels.decoder.drop=0 never teaches",
                "Set drop above 0, or guidance=1.",
            )

    def initialise(self) -> None:
        """Load the autoencoder and the U-Net's first weights where paths name them."""
        for key, network in (("vae", self.vae), ("unet_weights", self.unet)):
            if (folder := self.paths[key]) is not None:
                load_weights(key, folder, network)

    def architecture(self) -> dict[str, Any]:
        """The autoencoder by its arguments instead of its path: its weights are saved with the decoder's."""
        return {"vae": None if self.vae is None else describe(self.vae), "unet_weights": None}

    def loss(
        self, features_BNC: Tensor, images_BHWC: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Any]]:
        """Squared error of the prediction, some images without their condition; see the base class."""
        condition = self.conditioning(self.disturb(self.standardise(features_BNC), generator))
        gone_B = torch.rand(len(features_BNC), generator=generator) < self.drop
        condition = self.conditioning.take_away(condition, gone_B.to(self.mean_C.device))
        lesson = self.objective.lesson(self._encode(images_BHWC, generator), generator)
        squared = F.mse_loss(self._predict(lesson.noisy_Bchw, lesson.time_B, condition), lesson.target_Bchw)
        return squared, {"squared": squared.detach()}

    @torch.no_grad()
    def forward(self, features_BNC: Tensor) -> Tensor:
        """Images [B, H, W, 3] in 0 … 1, of the corpus' size, from the same first noise for every image."""
        noise_1chw = torch.randn(1, *self.shape, generator=torch.Generator().manual_seed(self.seed))
        parts = [self.paint(part, noise_1chw.expand(len(part), -1, -1, -1)) for part in features_BNC.split(self.batch)]
        return torch.cat(parts)

    @torch.no_grad()
    def paint(self, features_BNC: Tensor, noise_Bchw: Tensor) -> Tensor:
        """Images as :meth:`forward` makes them, from a first noise (float32) of the caller's choice."""
        condition = self.conditioning(self.standardise(features_BNC))
        noise_Bchw = noise_Bchw.to(self.mean_C.device)
        guided = self.guidance != 1
        if guided:  # one batch of two: without the condition, then with it
            count = len(noise_Bchw)
            gone = torch.arange(2 * count, device=noise_Bchw.device) < count
            condition = self.conditioning.take_away(condition.twice(), gone)

        def predict(x_Bchw: Tensor, time_B: Tensor) -> Tensor:
            if not guided:
                return self._predict(x_Bchw, time_B, condition)
            both = self._predict(x_Bchw.repeat(2, 1, 1, 1), time_B.repeat(2), condition)
            without, with_it = both.chunk(2)
            return without + self.guidance * (with_it - without)

        return self._decode(self.objective.sample(predict, noise_Bchw, self.steps))

    def _predict(self, x_Bchw: Tensor, time_B: Tensor, condition: Condition) -> Tensor:
        if condition.map_BEhw is not None:
            x_Bchw = torch.cat([x_Bchw, condition.map_BEhw], 1)
        added = None
        if condition.pooled_BP is not None:  # original size, corner of the crop, target size
            sizes = x_Bchw.new_tensor([self.size, self.size, 0, 0, self.size, self.size])
            added = {"text_embeds": condition.pooled_BP, "time_ids": sizes.expand(len(x_Bchw), TIME_IDS)}
        said: Tensor = self.unet(
            x_Bchw, time_B, encoder_hidden_states=condition.tokens_BND, added_cond_kwargs=added
        ).sample
        return said

    @torch.no_grad()
    def _encode(self, images_BHWC: Tensor, generator: torch.Generator) -> Tensor:
        """What is denoised, of uint8 images: folded pixels in -1 … 1, or latents at about unit spread."""
        x_B3HW = images_BHWC.to(self.mean_C.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        x_B3HW = _resize(x_B3HW, self.size)
        if self.vae is None:
            return F.pixel_unshuffle(x_B3HW, self.fold)
        spread = self.vae.encode(x_B3HW).latent_dist
        latents_Bchw = spread.mean + spread.std * torch.randn(spread.mean.shape, generator=generator).to(spread.mean)
        return (latents_Bchw - (self.vae.config.shift_factor or 0)) * self.vae.config.scaling_factor

    def _decode(self, x_Bchw: Tensor) -> Tensor:
        if self.vae is None:
            x_B3HW = F.pixel_shuffle(x_Bchw, self.fold)
        else:
            latents_Bchw = x_Bchw / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0)
            x_B3HW = self.vae.decode(latents_Bchw).sample
        return (_resize(x_B3HW, self.image_size) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)


def _resize(x_B3HW: Tensor, side: int) -> Tensor:
    if x_B3HW.shape[-1] == side:
        return x_B3HW
    return F.interpolate(x_B3HW, (side, side), mode="bicubic", antialias=True)
