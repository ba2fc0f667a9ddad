"""The C-Abstractor of Honeybee (Cha et al. 2023, section 3.2): convolutions before and after pooling to a smaller grid.

Learned places are added to the features; then come residual convolution blocks, average pooling to the grid of
embeddings, as many blocks again, and an MLP of two layers. The blocks are RegNet's (Radosavovic et al. 2020, with
squeeze and excitation): 1 x 1, depthwise 3 x 3, excitation, 1 x 1, with SiLU and norms over channels.

Shapes: B images, N patches, C channels (feature width or hidden), H W rows and columns of the grid, M embeddings.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.connectors.image import ImageConnector, side_of_grid
from lavit.errors import LavitError

POSITION_STD = 0.02


class CAbstractor(ImageConnector):
    """See the module's docstring.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`; N and M
            are squares. Positions are the paper's own.
        depth: convolution blocks before pooling, and after it (Honeybee: 3).
        hidden: channels of the blocks (Honeybee: 1024).
        squeeze: channels inside an excitation, in units of the block's input's.
    """

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int = 3,
        hidden: int = 1024,
        squeeze: float = 0.25,
        positions: bool = True,
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.grid = side_of_grid(patches, "number of patches", "use an encoder with a square grid, and tokens=fixed")
        remedy = f"choose a square of at most {patches} (scale.connector.tokens)"
        self.side = side_of_grid(tokens, "connector.tokens", remedy)
        if tokens > patches:
            raise LavitError(f"connector.tokens={tokens} are more than the {patches} patches that are pooled", remedy)
        if self.positions_NC is not None:
            nn.init.trunc_normal_(self.positions_NC, std=POSITION_STD)
        widths = [feature_dim, *[hidden] * depth]
        self.before = nn.Sequential(*(ConvBlock(*pair, squeeze) for pair in pairwise(widths)))
        self.after = nn.Sequential(*(ConvBlock(hidden, hidden, squeeze) for _ in range(depth)))
        self.project = nn.Sequential(nn.Linear(hidden, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W] in raster order."""
        x_BCHW = self.placed(features_BNC).transpose(1, 2).unflatten(2, (self.grid, self.grid))
        x_BCHW = self.after(F.adaptive_avg_pool2d(self.before(x_BCHW), self.side))
        return self.project(x_BCHW.flatten(2).transpose(1, 2))


class ConvBlock(nn.Module):
    """A residual block of stride 1: RegNet's with excitation.

    Args:
        channels: of the input.
        out: of the output.
        squeeze: see :class:`CAbstractor`.
    """

    def __init__(self, channels: int, out: int, squeeze: float):
        super().__init__()
        self.mix = nn.Conv2d(channels, out, 1, bias=False)
        self.norm_mix = ChannelNorm(out)
        self.spread = nn.Conv2d(out, out, 3, padding=1, groups=out, bias=False)
        self.norm_spread = ChannelNorm(out)
        narrow = max(1, round(squeeze * channels))
        self.squeeze, self.excite = nn.Conv2d(out, narrow, 1), nn.Conv2d(narrow, out, 1)
        self.last = nn.Conv2d(out, out, 1, bias=False)
        self.norm_last = ChannelNorm(out)
        self.shortcut: nn.Module = nn.Identity()
        if channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), ChannelNorm(out))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.silu(self.norm_mix(self.mix(x_BCHW)))
        y_BCHW = F.silu(self.norm_spread(self.spread(y_BCHW)))
        mean = y_BCHW.mean((2, 3), keepdim=True)
        y_BCHW = y_BCHW * self.excite(F.silu(self.squeeze(mean))).sigmoid()
        return F.silu(self.norm_last(self.last(y_BCHW)) + self.shortcut(x_BCHW))


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of each cell of a grid (2-D layer norm)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
