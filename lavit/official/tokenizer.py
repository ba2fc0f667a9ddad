"""The official arrangement of the visual side: tower, selector, merger, quantizer, projector; decoders with conditions.

The modules are the ones that the suite trains. What is official is how they are put together (raw features, positions
by rank, no token guaranteed) and, where asked for, the policy softmax.

Shapes: B images, H W pixels, N patches, R kept tokens, C channels, D code dimensions, L width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.official.config import OfficialConfig
from lavit.pixels.condition import HighResolutionCondition, LowResolutionCondition
from lavit.tokenizer.merger import TokenMerger
from lavit.tokenizer.packing import Kept, pack_kept
from lavit.tokenizer.pooling import per_patch
from lavit.tokenizer.quantizer import Quantizer
from lavit.tokenizer.rank_decoder import RankDecoder
from lavit.tokenizer.selector import TokenSelector
from lavit.vision.eva import EvaEncoder


@dataclass
class OfficialTokens:
    """What the tokenizer makes of a batch; rows lie image after image, in raster order.

    Attributes:
        kept: which places were kept.
        merged_RC: merged features, continuous.
        codes_R: codes.
        projected_RL: merged features for the language model.
    """

    kept: Kept
    merged_RC: Tensor
    codes_R: Tensor
    projected_RL: Tensor


class OfficialTokenizer(nn.Module):
    """Images to visual tokens.

    Args:
        config: sizes.
        softmax: of the merger; ``exact`` runs packed, ``policy`` is the released behaviour to the last digit.
    """

    def __init__(self, config: OfficialConfig, softmax: str = "exact"):
        super().__init__()
        self.config = config
        self.encoder = EvaEncoder(
            config.image_size,
            config.patch,
            config.width,
            config.vision_blocks,
            config.heads,
            config.mlp_ratio,
            config.vision_epsilon,
        )
        self.selector = TokenSelector(config.width, config.grid**2, at_least_one=False)
        self.merger = TokenMerger(
            config.width, config.merger_blocks, config.heads, config.mlp_ratio, causal=True, softmax=softmax
        )
        self.quantizer = Quantizer(config.width, config.codebook_size, config.code_dim)
        self.projector = nn.Linear(config.width, config.llm_width)

    def forward(self, pixels_B3HW: Tensor, keep_BN: Tensor | None = None) -> OfficialTokens:
        """Tokens of normalised pixels; ``keep_BN`` replaces the selector's decisions."""
        features_BNC = self.encoder.features(pixels_B3HW)
        if keep_BN is None:
            keep_BN = self.selector(features_BNC).keep_BM
        kept = pack_kept(keep_BN)
        merged_RC = self.merger.packed(features_BNC, keep_BN, kept)
        codes_R = self.quantizer.codes(self.quantizer.vectors(merged_RC))
        return OfficialTokens(kept, merged_RC, codes_R, self.projector(merged_RC))


class OfficialDecoder(nn.Module):
    """Codes to reconstructed features, and to the condition of a pixel decoder.

    Args:
        config: sizes.
        high_resolution: the condition of the 1024-pixel decoder instead of the 512-pixel one's.
    """

    condition: LowResolutionCondition | HighResolutionCondition

    def __init__(self, config: OfficialConfig, high_resolution: bool = False):
        super().__init__()
        self.tokens = RankDecoder(
            config.code_dim,
            config.width,
            per_patch(config.grid),
            config.width,
            config.decoder_blocks,
            config.heads,
            config.mlp_ratio,
        )
        if high_resolution:
            if config.pooled_dim is None:
                raise LavitError("the high-resolution decoder needs a pooled width, and the config gives none")
            self.condition = HighResolutionCondition(
                config.width, config.condition_dim, config.pooled_dim, config.grid**2, config.heads
            )
        else:
            self.condition = LowResolutionCondition(config.width, config.condition_dim)
