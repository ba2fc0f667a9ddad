"""The vision tower of LaVIT: an EVA-CLIP-type ViT, whose last block's output is the feature of a patch.

Against a plain ViT: a class token takes part in every block and is dropped at the end, queries and values have
biases and keys have none, and nothing is normed after the last block (the released weights hold a final norm and a
head for contrastive training; LaVIT never uses them).

Shapes: B images, H W pixels, N patches in raster order, T = N + 1 positions (class token first), C channels, E of a
head.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.blocks import Mlp, init_transformer

# Mean and deviation of the red, green and blue values (0 to 1) that OpenAI's CLIP was trained on.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NORM_EPSILON = 1e-6


class BiasedAttention(nn.Module):
    """Multi-head self-attention with biases on queries and values only."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise LavitError(f"width {width} cannot be divided into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_bias_C = nn.Parameter(torch.zeros(width))
        self.value_bias_C = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        batch, length, width = x_BTC.shape
        bias = torch.cat([self.query_bias_C, torch.zeros_like(self.query_bias_C), self.value_bias_C])
        qkv = F.linear(x_BTC, self.qkv.weight, bias).view(batch, length, 3, self.heads, width // self.heads)
        query_BHTE, key_BHTE, value_BHTE = qkv.permute(2, 0, 3, 1, 4)
        mixed_BHTE = F.scaled_dot_product_attention(query_BHTE, key_BHTE, value_BHTE)
        return self.out(mixed_BHTE.transpose(1, 2).reshape(batch, length, width))


class EvaBlock(nn.Module):
    """Pre-norm block: attention, then an MLP, each with its residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, norm_epsilon: float):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=norm_epsilon)
        self.attention = BiasedAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, eps=norm_epsilon)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attention(self.norm_attention(x_BTC))
        return x_BTC + self.mlp(self.norm_mlp(x_BTC))


class EvaEncoder(nn.Module):
    """uint8 images to one feature row a patch; a drop-in for :class:`lavit.vision.encoder.VisionEncoder`.

    LaVIT's is EVA-CLIP ViT-g/14: image_size 224, patch 14, width 1408, 40 blocks, 16 heads, mlp_ratio 4.3637.

    Args:
        image_size: side of the square images, in pixels.
        patch: side of a patch, in pixels.
        width: channels C of the features.
        blocks: transformer blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs in units of ``width``.
        norm_epsilon: of the layer norms.

    Raises:
        LavitError: patches do not tile the image, or heads the width.
    """

    mean_3: Tensor
    std_3: Tensor

    def __init__(
        self,
        image_size: int,
        patch: int,
        width: int,
        blocks: int,
        heads: int,
        mlp_ratio: float = 4.3637,
        norm_epsilon: float = NORM_EPSILON,
    ):
        super().__init__()
        if image_size % patch:
            raise LavitError(f"vision.encoder.patch={patch} does not divide the image size {image_size}")
        self.image_size, self.patch, self.feature_dim = image_size, patch, width
        self.grid = image_size // patch
        self.num_patches = self.grid**2
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.class_C = nn.Parameter(torch.zeros(width))
        self.position_TC = nn.Parameter(torch.zeros(self.num_patches + 1, width))
        self.blocks = nn.ModuleList(EvaBlock(width, heads, mlp_ratio, norm_epsilon) for _ in range(blocks))
        self.register_buffer("mean_3", torch.tensor(CLIP_MEAN), persistent=False)
        self.register_buffer("std_3", torch.tensor(CLIP_STD), persistent=False)
        init_transformer(self.blocks)
        for table in (self.class_C, self.position_TC):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, images_BHWC: Tensor | np.ndarray) -> Tensor:
        """Features [B, N, C] of uint8 images [B, H, W, 3]."""
        images_BHWC = torch.as_tensor(images_BHWC)
        if images_BHWC.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 (0 to 255, channels last), not {images_BHWC.dtype}")
        pixels_BHWC = (images_BHWC.to(self.class_C.device).float() / 255 - self.mean_3) / self.std_3
        return self.features(pixels_BHWC.permute(0, 3, 1, 2))

    def features(self, pixels_B3HW: Tensor) -> Tensor:
        """Features [B, N, C] of pixels that are already normalised."""
        embedded_BNC = self.embed(pixels_B3HW).flatten(2).transpose(1, 2)
        x_BTC = torch.cat([self.class_C.expand(len(embedded_BNC), 1, -1), embedded_BNC], 1) + self.position_TC
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return x_BTC[:, 1:]
