"""Encoder and decoder of VQGAN (Esser et al. 2021, table 7): residual convolutions, halved and doubled in between.

Both are given by the channels at full resolution, a multiplier a level, residual blocks a level, and the sides at
which self-attention follows a block. Levels but the last halve the side: L levels shrink an image 2 ** (L - 1) times.

Shapes: B images, C channels, H W height and width of a map, N positions of a map, Z channels of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError

GROUPS = 32  # of a norm, of as many channels as the smallest published one has:
GROUPED = 4  # with one channel a group a norm takes out what colour a map has
EPSILON = 1e-6


def norm(channels: int) -> nn.GroupNorm:
    """The group norm before each convolution."""
    most = max(1, min(GROUPS, channels // GROUPED))
    groups = next(groups for groups in range(most, 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels, eps=EPSILON)


class ResidualBlock(nn.Module):
    """Twice norm, SiLU and a 3 x 3 convolution, beside the identity (a 1 x 1 convolution where channels change)."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.body = nn.Sequential(
            norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, out, 3, padding=1),
            norm(out),
            nn.SiLU(),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.skip = nn.Conv2d(channels, out, 1) if out != channels else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.skip(x_BCHW) + self.body(x_BCHW)


class MapAttention(nn.Module):
    """Self-attention of one head over all positions of a map, with its norm and residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        query, key, value = (part.flatten(2).mT[:, None] for part in self.qkv(self.norm(x_BCHW)).chunk(3, 1))
        mixed_BNC = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return x_BCHW + self.out(mixed_BNC.mT.reshape(x_BCHW.shape))


class Halve(nn.Module):
    """A 3 x 3 convolution of stride 2 that pads on the right and below only."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.convolution(F.pad(x_BCHW, (0, 1, 0, 1)))


class Double(nn.Module):
    """Nearest neighbours, then a 3 x 3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.convolution(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))


def middle(channels: int) -> list[nn.Module]:
    """What both networks have at the lowest resolution: two blocks with attention between them."""
    return [ResidualBlock(channels, channels), MapAttention(channels), ResidualBlock(channels, channels)]


class ConvEncoder(nn.Sequential):
    """Pixels [B, 3, H, W] in -1 … 1 to latents [B, Z, H / f, W / f].

    Args:
        side: of the images in pixels.
        channels: at full resolution.
        multipliers: of the channels, one a level.
        blocks: residual blocks a level.
        attention: sides of the maps at which attention follows each block.
        latent: channels Z.
    """

    def __init__(
        self, side: int, channels: int, multipliers: Sequence[int], blocks: int, attention: Sequence[int], latent: int
    ):
        shrinks(side, multipliers)
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
        now = channels
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                layers.append(ResidualBlock(now, channels * multiplier))
                now = channels * multiplier
                if side >> level in attention:
                    layers.append(MapAttention(now))
            if level < len(multipliers) - 1:
                layers.append(Halve(now))
        super().__init__(*layers, *middle(now), norm(now), nn.SiLU(), nn.Conv2d(now, latent, 3, padding=1))


class ConvDecoder(nn.Sequential):
    """Latents [B, Z, H / f, W / f] to pixels [B, 3, H, W], about -1 … 1; a level has one block more than the encoder's.

    Args: as :class:`ConvEncoder`.
    """

    def __init__(
        self, side: int, channels: int, multipliers: Sequence[int], blocks: int, attention: Sequence[int], latent: int
    ):
        now = channels * multipliers[-1]
        layers: list[nn.Module] = [nn.Conv2d(latent, now, 3, padding=1), *middle(now)]
        for level in reversed(range(len(multipliers))):
            for _ in range(blocks + 1):
                layers.append(ResidualBlock(now, channels * multipliers[level]))
                now = channels * multipliers[level]
                if side >> level in attention:
                    layers.append(MapAttention(now))
            if level:
                layers.append(Double(now))
        super().__init__(*layers, norm(now), nn.SiLU(), nn.Conv2d(now, 3, 3, padding=1))

    @property
    def last_weight(self) -> Tensor:
        """Weights of the last layer: where the adaptive weight compares gradients."""
        last = self[-1]
        assert isinstance(last, nn.Conv2d)
        return last.weight


def shrinks(side: int, multipliers: Sequence[int]) -> int:
    """By how much these levels shrink an image of that side.

    Raises:
        LavitError: they do not divide it.
    """
    factor: int = 2 ** (len(multipliers) - 1)
    if side % factor:
        raise LavitError(
            f"tokenizer.network.multipliers={list(multipliers)} shrinks an image {factor} times, "
            f"which does not divide its side of {side} pixels",
            "give fewer levels, or larger images",
        )
    return factor
