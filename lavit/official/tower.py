"""The path of images into the LLM: the frozen tokenizer selects patches, a copy of its merger makes the LLM's input.

Two mergers exist. The tokenizer's own is frozen, because the codes mean something only through it. What the LLM reads
comes from a second one that begins as a copy and then learns with the LLM, as does the projector behind it. The vision
encoder and the selector are shared, and never learn (LaVIT, stage 2).

Shapes: B images, N patches, R kept rows of all images, C channels of the features, D width of the LLM.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lavit.official.tokenizer import OfficialTokenizer
from lavit.tokenizer.merger import Merger
from lavit.tokenizer.packing import pack_kept


@dataclass
class VisualRows:
    """What the LLM gets of a batch of images.

    Attributes:
        rows_RD: projected rows, image after image, in raster order.
        lengths_B: rows of each image.
        keep_BN: the decisions behind them (1: kept).
    """

    rows_RD: Tensor
    lengths_B: Tensor
    keep_BN: Tensor


class UnderstandingTower(nn.Module):
    """See the module's docstring.

    Args:
        tokenizer: defines the codes; frozen here, and kept in evaluation mode.
        merger: the copy that learns; by default begun as the tokenizer's own.
        projector: to the LLM's width; by default begun as the tokenizer's own.
    """

    def __init__(self, tokenizer: OfficialTokenizer, merger: Merger | None = None, projector: nn.Linear | None = None):
        super().__init__()
        self.merger: Merger = copy.deepcopy(tokenizer.merger) if merger is None else merger
        self.projector = copy.deepcopy(tokenizer.projector) if projector is None else projector
        self.requires_grad_(True)
        self.tokenizer = tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> UnderstandingTower:
        """Training mode of what learns; the tokenizer stays as it is."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def learned(self) -> dict[str, Tensor]:
        """State of what learns, by name: what is kept of this module beside the tokenizer."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("tokenizer.")}

    def forward(
        self,
        features_BNC: Tensor,
        keep_BN: Tensor | None = None,
        generator: torch.Generator | None = None,
        keys_B: Tensor | None = None,
    ) -> VisualRows:
        """Rows of a batch of vision features.

        Args:
            features_BNC: output of the frozen vision encoder (``tokenizer.encoder``).
            keep_BN: decisions, where they are known already.
            generator: draws the selector's decisions; without one they follow the selector's mode.
            keys_B: keys of the images, for a mode that draws from them.
        """
        if keep_BN is None:
            with torch.no_grad():
                keep_BN = self.tokenizer.selector(features_BNC, generator, keys_B).keep_BM
        kept = pack_kept(keep_BN.detach())
        rows_RD = self.projector(self.merger.packed(features_BNC.detach(), keep_BN.detach(), kept))
        return VisualRows(rows_RD, kept.rows.count_B, keep_BN.detach())
