"""The query tokenizer: M learned queries take an image's meaning out of its features, and each output gets a code.

After SEED (Ge et al. 2023): a causal query former -> Linear, tanh, Linear to the few dimensions of a code -> code ->
two decoders. One gives the query outputs back (1 - cos), one the image: SEED's an unCLIP embedding, here the features
of all patches, so that the common pixel decoder can paint them. Tokens are told apart by rank alone, and all are there.

Shapes: B images, N patches, M queries, K the same, R packed tokens, C channels of the vision features, E channels of
the query outputs, D code dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lavit.build import build
from lavit.errors import LavitError
from lavit.tokenizer.base import FixedTokenizer
from lavit.tokenizer.codebook import VectorQuantizer
from lavit.tokenizer.decoder import TokenDecoder
from lavit.tokenizer.packing import pack_counts
from lavit.tokenizer.tokens import VisualTokens
from lavit.vision.blocks import Block, init_transformer


@dataclass(frozen=True)
class Counts:
    """What a decoder by rank has to know of where tokens lie: how many there are, of how many patches."""

    num_places: int
    num_patches: int


class OutputDecoder(nn.Module):
    """Code vectors back to query outputs: Linear, tanh, Linear, then a transformer over all tokens (SEED: 4 blocks).

    Args:
        code_dim: D.
        width: E.
        tokens: M.
        blocks, heads: of the transformer.
    """

    def __init__(self, code_dim: int, width: int, tokens: int, blocks: int, heads: int):
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(code_dim, code_dim), nn.Tanh(), nn.Linear(code_dim, width))
        self.rank_ME = nn.Parameter(torch.zeros(tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        init_transformer(self)
        nn.init.trunc_normal_(self.rank_ME, std=0.02)

    def forward(self, vectors_BMD: Tensor) -> Tensor:
        """Query outputs [B, M, E]."""
        x_BME = self.enter(vectors_BMD) + self.rank_ME
        for block in self.blocks:
            x_BME = block(x_BME)
        return x_BME


class QueryTokenizer(FixedTokenizer):
    """See the module's docstring.

    Args:
        former: features and mask -> query outputs [B, M, E].
        width: channels E of the outputs.
        tokens: queries M.
        quantizer: outputs to vectors and codes.
        outputs: code vectors to query outputs; serves training only.
        decoder: code vectors to the features of all patches.
        vision_dim: channels C of the vision features.
        quantised: False where training used no codebook.
    """

    positions = "rank"
    place_patches_MN = None

    def __init__(
        self,
        former: nn.Module,
        width: int,
        tokens: int,
        quantizer: VectorQuantizer,
        outputs: OutputDecoder,
        decoder: TokenDecoder,
        vision_dim: int,
        quantised: bool = True,
    ):
        super().__init__(vision_dim, width, tokens, quantised)
        self.former, self.quantizer, self.outputs, self.decoder = former, quantizer, outputs, decoder

    def read(self, standard_BNC: Tensor) -> Tensor:
        """Query outputs [B, M, E] of standardised features."""
        mask_BN = torch.ones(standard_BNC.shape[:2], dtype=torch.bool, device=standard_BNC.device)
        return self.former(standard_BNC, mask_BN)

    def rebuild(self, vectors_BMD: Tensor) -> Tensor:
        """Standardised features [B, N, C] from the vectors of all queries."""
        return self.decoder(vectors_BMD, vectors_BMD.new_ones(vectors_BMD.shape[:2]))

    def tokens(
        self, features_BNC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> VisualTokens:
        """Visual tokens of raw vision features; nothing is drawn.

        Raises:
            ValueError: the features are not finite.
        """
        if not torch.isfinite(features_BNC).all():
            raise ValueError("tokenizer: the vision features hold values that are not finite")
        return self.full(self.read(self.standardise(features_BNC)))

    def tokens_of(self, images_BHWC: Tensor, features_BNC: Tensor | None = None) -> VisualTokens:
        """Visual tokens of uint8 images, from their vision features."""
        return self.tokens(self.look(images_BHWC) if features_BNC is None else features_BNC)

    def decode(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Reconstructed vision features [B, N, C] of token vectors (codebook rows or continuous)."""
        mask_BK = mask_BK.bool()
        rows = pack_counts(mask_BK.sum(1))
        return self.restore(self.decoder.packed(vectors_BKD[mask_BK], places_BK[mask_BK], rows))


def assemble(
    tokens: Mapping[str, Any] | None, tokenizer: Mapping[str, Any], feature_dim: int, grid: int, patch: int
) -> QueryTokenizer:
    """Build the tokenizer of a config node ``tokenizer``; see :func:`lavit.tokenizer.loading.assemble`.

    Raises:
        LavitError: no query.
    """
    queries, width = int(tokenizer["queries"]), int(tokenizer["width"])
    if queries < 1:
        raise LavitError(f"tokenizer.queries={queries}: an image needs at least one token")
    former = build(tokenizer["former"], feature_dim=feature_dim, width=width, patches=grid**2, tokens=queries)
    quantizer = build(tokenizer["quantizer"], width=width)
    outputs = OutputDecoder(quantizer.code_dim, width, queries, **tokenizer["outputs"])
    decoder = build(
        tokenizer["decoder"],
        code_dim=quantizer.code_dim,
        feature_dim=feature_dim,
        layout=Counts(queries, grid**2),
    )
    return QueryTokenizer(former, width, queries, quantizer, outputs, decoder, feature_dim, bool(tokenizer["quantise"]))
