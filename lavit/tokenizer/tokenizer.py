"""The dynamic visual tokenizer: vision features in, ragged visual tokens out, and back.

layout (patches or pooled cells) -> selector (which places) -> merger (what they take over) -> quantizer (unit vector,
code) -> decoder (features again). Each part is a module of its own, named by ``_target_`` in the config.

From the merger on tokens are one packed sequence a batch. Only where the selector is to learn from its decisions does
training carry all places (:meth:`Tokenizer.places`); kept tokens come out the same.

Shapes: B images, N patches, M places, K most tokens of an image, R tokens of all images, C channels, D code dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lavit.tokenizer.base import VisualTokenizer
from lavit.tokenizer.codebook import VectorQuantizer
from lavit.tokenizer.decoder import TokenDecoder
from lavit.tokenizer.merger import Merger
from lavit.tokenizer.packing import Kept, pack_counts, pack_kept
from lavit.tokenizer.pooling import Layout
from lavit.tokenizer.selector import Selection, image_keys
from lavit.tokenizer.tokens import VisualTokens
from lavit.vision.encoder import VisionEncoder


@dataclass
class Places:
    """What every place of a batch holds before dropped places are left out: the form in which training works."""

    selection: Selection
    merged_BMC: Tensor
    vectors_BMD: Tensor


@dataclass
class PackedPlaces:
    """What the kept places of a batch hold, image after image, in raster order."""

    selection: Selection
    kept: Kept
    merged_RC: Tensor
    vectors_RD: Tensor


class Tokenizer(VisualTokenizer):
    """See the module's docstring.

    Args:
        layout: where tokens may lie.
        selector: features -> :class:`~lavit.tokenizer.selector.Selection`.
        merger: features and decisions -> merged features.
        quantizer: merged features -> unit vectors and codes.
        decoder: vectors, places and weights -> features.
        feature_dim: channels C.
        vision: the encoder that ``encode`` runs; None where only features are at hand.
        quantised: False where training used no codebook: then vectors are the tokens, and codes mean nothing.
    """

    layout: Layout

    def __init__(
        self,
        layout: Layout,
        selector: nn.Module,
        merger: Merger,
        quantizer: VectorQuantizer,
        decoder: TokenDecoder,
        feature_dim: int,
        vision: VisionEncoder | None = None,
        quantised: bool = True,
    ):
        super().__init__(feature_dim)
        self.quantised = quantised
        self.layout, self.selector, self.merger = layout, selector, merger
        self.quantizer, self.decoder = quantizer, decoder
        self.feature_dim = feature_dim
        self.num_places = layout.num_places
        self.tokens_per_image = selector.tokens_per_image  # type: ignore[assignment]
        self.positions = "place" if decoder.uses_places else "rank"
        self.vision = vision

    @property
    def place_patches_MN(self) -> Tensor | None:  # type: ignore[override]
        """Share of each patch in each place, rows sum to 1; None where models are not told places but ranks."""
        return self.layout.gather_MN if self.decoder.uses_places else None

    @property
    def chooses(self) -> bool:  # type: ignore[override]
        """Whether a learned selector decides which places become tokens."""
        return bool(self.selector.learned)

    def places(
        self, standard_BNC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> Places:
        """Decisions, merged features and vectors of all places of standardised features."""
        features_BMC = self.layout.gather(standard_BNC)
        selection = self.selector(features_BMC, generator, keys_B)
        merged_BMC = self.merger(features_BMC, selection.keep_BM)
        return Places(selection, merged_BMC, self.quantizer.vectors(merged_BMC))

    def packed(
        self, standard_BNC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> PackedPlaces:
        """The same of the kept places only; no gradient reaches the decisions."""
        features_BMC = self.layout.gather(standard_BNC)
        selection = self.selector(features_BMC, generator, keys_B)
        kept = pack_kept(selection.keep_BM.detach())
        merged_RC = self.merger.packed(features_BMC, selection.keep_BM.detach(), kept)
        return PackedPlaces(selection, kept, merged_RC, self.quantizer.vectors(merged_RC))

    def tokens(
        self, features_BNC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> VisualTokens:
        """Visual tokens of raw vision features; sampled with a generator, else as the selector's mode says.

        Raises:
            ValueError: the features are not finite.
        """
        if not torch.isfinite(features_BNC).all():
            raise ValueError("tokenizer: the vision features hold values that are not finite")
        held = self.packed(self.standardise(features_BNC), generator, keys_B)
        rows = held.kept.rows
        # Where the decoder knows ranks only, nobody may see where a token came from: its place is its rank.
        places_R = held.kept.kept_R % self.num_places if self.decoder.uses_places else rows.rank_R
        codes_R = self.quantizer.codes(held.vectors_RD)
        return VisualTokens(
            rows.pad(held.merged_RC), rows.pad(held.vectors_RD), rows.pad(codes_R), rows.pad(places_R), rows.mask_BK()
        )

    def patches(self, tokens: VisualTokens) -> list[Tensor] | None:
        """Which patches [K] of each image became tokens, in raster order.

        None where a token is no patch (pooled cells), or where positions are by rank and nobody may know.
        """
        if not (self.decoder.uses_places and self.layout.identity):
            return None
        return [places[mask] for places, mask in zip(tokens.places_BK, tokens.mask_BK, strict=True)]

    def tokens_of(self, images_BHWC: Tensor, features_BNC: Tensor | None = None) -> VisualTokens:
        """Visual tokens of uint8 images; what is random about one depends on its pixels."""
        features_BNC = self.look(images_BHWC) if features_BNC is None else features_BNC
        return self.tokens(features_BNC, keys_B=image_keys(images_BHWC))

    def kept(self, features_BNC: Tensor, keys_B: Tensor) -> Tensor:
        """Which places become tokens, bool [B, M]."""
        features_BMC = self.layout.gather(self.standardise(features_BNC))
        kept_BM: Tensor = self.selector(features_BMC, keys_B=keys_B).keep_BM > 0.5
        return kept_BM

    def decode(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Reconstructed vision features [B, N, C] of token vectors (codebook rows or continuous)."""
        if self.decoder.uses_places and bool((places_BK >= self.num_places).any() or (places_BK < 0).any()):
            raise ValueError(
                f"places must lie in 0 to {self.num_places - 1}, got {places_BK.min()} to {places_BK.max()}"
            )
        mask_BK = mask_BK.bool()
        return self.restore(self.decoder.packed(vectors_BKD[mask_BK], places_BK[mask_BK], pack_counts(mask_BK.sum(1))))
