"""From codes to pixels with the released decoders: codes to features, to a condition, to an image by diffusers' U-Net.

Shapes: B images, N patches, C channels, D condition width, P pooled width, L stored rows of no condition, h w of what
is denoised, R tokens of all images.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.model.protocol import Drawing
from lavit.official.loading import Official
from lavit.official.precision import in_own_type, raise_norms
from lavit.official.released_pixels import UNCONDITIONAL, WEIGHTS
from lavit.official.settings import OfficialSettings
from lavit.official.tokenizer import OfficialDecoder
from lavit.tokenizer.packing import pack_counts
from lavit.tokenizer.quantizer import Quantizer

NETWORKS = ("unet", "vae", "scheduler")
PUBLISHED = {"low": (50, 1.5), "high": (25, 7.0)}  # calls of the U-Net and guidance: of the evaluation, of the demo


def choose_painter(official: Official, settings: OfficialSettings, device: torch.device) -> Painter | None:
    """The painter that the settings ask for; None for ``none``, or where no decoder was imported.

    ``auto`` takes the first of ``low`` and ``high`` that can paint; where neither can, the first that can at least turn
    codes into features.

    Raises:
        LavitError: the one that was asked for is not there.
    """
    if settings.pixels == "none":
        return None
    if settings.pixels != "auto":
        for kind in ("decoder", *NETWORKS):
            if f"{settings.pixels}/{kind}" not in official:
                raise LavitError(
                    f"checkpoint.pixels={settings.pixels}: {official.folder} has no {settings.pixels}/{kind}",
                    "import it too, or take checkpoint.pixels=auto",
                )
        return Painter(official, settings.pixels, settings, device)
    there = [part for part in PUBLISHED if f"{part}/decoder" in official]
    whole = [part for part in there if all(f"{part}/{kind}" in official for kind in NETWORKS)]
    return Painter(official, (whole or there)[0], settings, device) if there else None


@dataclass
class _Networks:
    """diffusers' models."""

    unet: Any
    vae: Any
    scheduler: Any


class Painter:
    """One of the two decoders.

    Args:
        official: the pieces of the release.
        part: ``low`` or ``high``.
        settings: steps and guidance.
        device: of all networks. diffusers' are loaded when the first image is painted.
    """

    def __init__(self, official: Official, part: str, settings: OfficialSettings, device: torch.device):
        self.official, self.part, self.device, self.batch = official, part, device, settings.batch
        steps, guidance = PUBLISHED[part]
        self.steps = steps if settings.steps is None else settings.steps
        self.guidance = guidance if settings.paint_guidance is None else settings.paint_guidance
        there = all(f"{part}/{kind}" in official for kind in NETWORKS)
        self.paints = there and importlib.util.find_spec("diffusers") is not None
        decoder = official.decoder(part)
        raise_norms(decoder)
        self.decoder: OfficialDecoder = decoder.to(device)
        self._networks: _Networks | None = None

    @property
    def longest(self) -> int:
        """Most codes of an image that the decoder can place."""
        return len(self.decoder.tokens.rank_MW)

    @torch.no_grad()
    def features(self, codes: list[Tensor], quantizer: Quantizer) -> Tensor:
        """Reconstructed features [B, N, C] in float32."""
        parts = []
        for first in range(0, len(codes), self.batch):
            part = codes[first : first + self.batch]
            rows = pack_counts(torch.tensor([len(row) for row in part], device=self.device))
            vectors_RD = quantizer.lookup(torch.cat(part).to(self.device))
            with in_own_type(self.decoder, self.device):
                parts.append(self.decoder.tokens.packed(vectors_RD, torch.zeros(0), rows).float())
        return torch.cat(parts)

    def drawing(self, codes: list[Tensor], quantizer: Quantizer, seed: int) -> Drawing:
        """Images of lists of codes."""
        features_BNC = self.features(codes, quantizer)
        generator = torch.Generator().manual_seed(seed)
        painted = [self.paint(part, generator) for part in features_BNC.split(self.batch)]
        return Drawing(np.concatenate(painted), np.array([len(row) for row in codes]), features_BNC)

    @torch.no_grad()
    def paint(self, features_BNC: Tensor, generator: torch.Generator) -> np.ndarray:
        """uint8 images [B, H, W, 3] of the size that the U-Net was made for.

        The first noise is drawn in float32 on the CPU, as published, so that it is the same on any device.

        Raises:
            LavitError: the U-Net, the autoencoder or the scheduler was not imported, or diffusers is missing.
        """
        net = self._networks = self._networks or self._load()
        unet, vae, scheduler = net.unet, net.vae, net.scheduler
        count, side, channels = len(features_BNC), int(unet.config.sample_size), int(unet.config.in_channels)
        told, untold = self._conditions(features_BNC, vae)
        noise_Bchw = torch.randn(count, channels, side, side, generator=generator).to(self.device, unet.dtype)
        scheduler.set_timesteps(self.steps, device=self.device)
        x_Bchw = noise_Bchw * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            entering = scheduler.scale_model_input(x_Bchw, time)
            said = unet(entering, time, **told).sample
            if self.guidance != 1:
                free = unet(entering, time, **untold).sample
                said = free + self.guidance * (said - free)
            x_Bchw = scheduler.step(said, time, x_Bchw).prev_sample
        image_B3HW = vae.decode(x_Bchw.to(vae.dtype) / vae.config.scaling_factor).sample.float()
        pixels = ((image_B3HW / 2 + 0.5).clamp(0, 1) * 255).round().byte()
        painted: np.ndarray = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return painted

    def _conditions(self, features_BNC: Tensor, vae: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of the U-Net with the condition and without it."""
        unet = self._networks.unet if self._networks else None
        assert unet is not None
        with in_own_type(self.decoder, self.device):
            made = self.decoder.condition(features_BNC.to(self.device))
        if not isinstance(made, tuple):
            tokens_BND = made.to(unet.dtype)
            told = {"encoder_hidden_states": tokens_BND}
            if self.guidance == 1:
                return told, {}
            nothing_1LD = self._nothing(tokens_BND)
            blank = tokens_BND.shape[1] - nothing_1LD.shape[1]
            mask_1N = torch.ones(1, tokens_BND.shape[1], device=self.device)
            mask_1N[:, nothing_1LD.shape[1] :] = 0
            padded_BND = F.pad(nothing_1LD, (0, 0, 0, blank)).expand(len(tokens_BND), -1, -1)
            mask_BN = mask_1N.expand(len(tokens_BND), -1)
            return told, {"encoder_hidden_states": padded_BND, "encoder_attention_mask": mask_BN}
        tokens_BND, pooled_BP = (x.to(unet.dtype) for x in made)
        size = int(unet.config.sample_size) * 2 ** (len(vae.config.block_out_channels) - 1)
        times = tokens_BND.new_tensor([size, size, 0, 0, size, size]).expand(len(tokens_BND), -1)
        return (
            {"encoder_hidden_states": tokens_BND, "added_cond_kwargs": {"text_embeds": pooled_BP, "time_ids": times}},
            {
                "encoder_hidden_states": torch.zeros_like(tokens_BND),
                "added_cond_kwargs": {"text_embeds": torch.zeros_like(pooled_BP), "time_ids": times},
            },
        )

    def _nothing(self, like_BND: Tensor) -> Tensor:
        """The stored embedding of no condition [1, L, D]."""
        if f"{self.part}/unconditional" not in self.official:
            raise LavitError(
                f"{self.official.folder}: {self.part}/unconditional was not imported, and guidance needs it",
                f"import {UNCONDITIONAL}.bin of the pixel decoder too, or take checkpoint.paint_guidance=1",
            )
        stored = load_file(self.official.folder / self.part / f"{UNCONDITIONAL}.safetensors")[UNCONDITIONAL]
        return stored.reshape(1, -1, stored.shape[-1]).to(like_BND)

    def _load(self) -> _Networks:
        try:
            from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        except ImportError as error:
            raise LavitError(
                f"painting needs diffusers, which cannot be imported: {error}", "pip install 'lavit-lab[diffusion]'"
            ) from error
        folders = {kind: self.official.pixels(self.part, kind) for kind in NETWORKS}
        options: dict[str, Any] = {"local_files_only": True, "low_cpu_mem_usage": False}
        unet = UNet2DConditionModel.from_pretrained(folders["unet"], torch_dtype=_type_of(folders["unet"]), **options)
        vae = AutoencoderKL.from_pretrained(folders["vae"], torch_dtype=_type_of(folders["vae"]), **options)
        if vae.config.force_upcast:  # as published for its family: half precision overflows in this autoencoder
            vae = vae.float()
        scheduler = DDIMScheduler.from_pretrained(folders["scheduler"], local_files_only=True)
        return _Networks(unet.to(self.device).eval(), vae.to(self.device).eval(), scheduler)


def _type_of(folder: Path) -> torch.dtype:
    """The type that a model's weights are stored in."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype
