"""Tiny networks of diffusers in the released layout, in place of those that a test's release only pretends to have."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel


def write_painters(folder: Path, condition_dim: int, pooled_dim: int = 0) -> None:
    """U-Net, autoencoder (8 pixels from 4 x 4 latents) and scheduler; with a pooled vector as in the larger release."""
    further = {}
    if pooled_dim:
        width = pooled_dim + 6 * 4
        further = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": width,
        }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unet = UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=condition_dim + pooled_dim,
            attention_head_dim=2,
            norm_num_groups=4,
            **further,
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 4),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=2,
            latent_channels=4,
        )
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    DDIMScheduler(clip_sample=False, beta_schedule="scaled_linear").save_pretrained(folder / "scheduler")
