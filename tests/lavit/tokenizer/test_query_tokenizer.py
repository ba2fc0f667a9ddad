"""The query tokenizer: causal codes, sizes as published, and that it learns features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lavit.errors import LavitError
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.query import QueryTokenizer
from lavit.tokenizer.query.former import CausalQueryFormer

OPTIONS = {
    "assemble": "lavit.tokenizer.query.assemble",
    "queries": 6,
    "width": 32,
    "former": {"_target_": "lavit.tokenizer.query.former.CausalQueryFormer", "depth": 2, "heads": 2},
    "outputs": {"blocks": 1, "heads": 2},
    "decoder": {"_target_": "lavit.tokenizer.rank_decoder.RankDecoder", "width": 32, "blocks": 1, "heads": 2},
    "quantizer": {
        "_target_": "lavit.tokenizer.euclidean.EuclideanQuantizer",
        "codebook_size": 64,
        "code_dim": 8,
        "project": "tanh",
        "l2_norm": True,
    },
    "quantise": True,
}


def small(**changes: object) -> QueryTokenizer:
    torch.manual_seed(0)
    made: QueryTokenizer = assemble(None, OPTIONS | changes, feature_dim=16, grid=4)
    return made


def test_a_code_depends_on_no_later_query() -> None:
    tokenizer = small().eval()
    features = torch.randn(3, 16, 16)
    with torch.no_grad():
        before = tokenizer.tokens(features)
        tokenizer.former.queries_MH[3] = torch.randn(32)
        after = tokenizer.tokens(features)
    assert torch.equal(before.features_BKC[:, :3], after.features_BKC[:, :3])
    assert torch.equal(before.codes_BK[:, :3], after.codes_BK[:, :3])
    moved = (before.features_BKC - after.features_BKC).abs().amax((0, 2))
    assert (moved[3:] > 1e-4).all(), "later ones see it"
    changed = features.clone()
    changed[:, -1] += 3.0
    with torch.no_grad():
        assert (tokenizer.tokens(changed).features_BKC != after.features_BKC).any(-1).all(), "all see every patch"


def test_decoding_needs_ranks_alone_and_company_changes_nothing() -> None:
    tokenizer = small().eval()
    assert tokenizer.positions == "rank"
    assert tokenizer.places_implied
    assert tokenizer.place_patches_MN is None
    with torch.no_grad():
        tokens = tokenizer.tokens(torch.randn(3, 16, 16))
        vectors = tokenizer.lookup(tokens.codes_BK)
        decoded = tokenizer.decode(vectors, tokens.places_BK, tokens.mask_BK)
        alone = tokenizer.decode(vectors[1:2], tokens.places_BK[1:2], tokens.mask_BK[1:2])
        training = tokenizer.restore(tokenizer.rebuild(vectors))
    assert decoded.shape == (3, 16, 16)
    assert torch.allclose(alone[0], decoded[1], atol=1e-5)
    assert torch.allclose(training, decoded, atol=1e-5)
    with pytest.raises(TypeError, match="paints no pixels"):
        tokenizer.paint(vectors, tokens.places_BK, tokens.mask_BK)
    with pytest.raises(ValueError, match="not finite"):
        tokenizer.tokens(torch.full((1, 16, 16), float("nan")))
    with pytest.raises(LavitError, match="at least one token"):
        small(queries=0)


def test_official_sizes_on_the_meta_device() -> None:
    """SEED: 32 queries of width 768 over features of 1408, a codebook of 8192 x 32."""
    published = OPTIONS | {
        "queries": 32,
        "width": 768,
        "former": OPTIONS["former"] | {"depth": 12, "heads": 12, "places": False},  # type: ignore[operator]
        "outputs": {"blocks": 4, "heads": 12},
        "quantizer": OPTIONS["quantizer"] | {"codebook_size": 8192, "code_dim": 32},  # type: ignore[operator]
    }
    with torch.device("meta"):
        tokenizer: QueryTokenizer = assemble(None, published, feature_dim=1408, grid=16)
        outputs = tokenizer.read(torch.empty(2, 256, 1408))
        assert outputs.shape == (2, 32, 768)
        assert tokenizer.quantizer.vectors(outputs).shape == (2, 32, 32)
    assert tokenizer.quantizer.codebook_KD.shape == (8192, 32)
    former = sum(p.numel() for p in tokenizer.former.parameters())
    # BLIP-2's query side: 12 x (self-attention + MLP), cross-attention in 6 of them, 32 queries, two norms.
    each = 4 * (768 * 768 + 768) + 2 * 768 + 2 * 4 * 768 * 768 + 5 * 768 + 2 * 768
    cross = 2 * (768 * 768 + 768) + 2 * (1408 * 768 + 768) + 2 * 768
    assert former == 12 * each + 6 * cross + 32 * 768 + 2 * 768 + 2 * 1408


def test_it_learns_features_through_codes() -> None:
    tokenizer = small()
    generator = torch.Generator().manual_seed(0)
    shapes = torch.randn(4, 16, 16, generator=generator)
    share = torch.rand(64, 4, generator=generator).round()
    standard = torch.einsum("bs,snc->bnc", share, shapes)
    standard = (standard - standard.mean((0, 1))) / standard.std()
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=4e-3)
    losses = []
    for _ in range(60):
        outputs = tokenizer.read(standard)
        vectors = tokenizer.quantizer.vectors(outputs)
        codes = tokenizer.lookup(tokenizer.quantizer.codes(vectors))
        pull, _ = tokenizer.quantizer.loss(vectors, codes, torch.ones(vectors.shape[:2]), 0.25)
        used = vectors + (codes - vectors).detach()
        angle = 1 - F.cosine_similarity(tokenizer.outputs(used), outputs.detach(), dim=-1).mean()
        squared = F.mse_loss(tokenizer.rebuild(used), standard)
        optimizer.zero_grad()
        (5 * pull + 2 * angle + 5 * squared).backward()
        optimizer.step()
        losses.append(squared.item())
    assert losses[-1] < 0.8 * losses[0]


def test_a_former_takes_heads_that_divide_its_width() -> None:
    with pytest.raises(LavitError, match="divided into 3 heads"):
        CausalQueryFormer(16, 32, 16, 4, depth=1, heads=3)
