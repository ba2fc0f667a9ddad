"""Packed execution equals the dense forms, whatever is kept, and an image's tokens never depend on its neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lavit.tokenizer.decoder import PlaceDecoder
from lavit.tokenizer.merger import MeanMerger, NoMerger, TokenMerger
from lavit.tokenizer.packing import pack_counts, pack_kept
from lavit.tokenizer.pooling import per_patch
from lavit.tokenizer.quantizer import nearest_codes
from lavit.tokenizer.rank_decoder import RankDecoder

# The dense softmax is float32 whatever enters, so that double brings no more digits.
DIGITS = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 0.1}


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Features [B, M, 16] and decisions; rows of nothing, one and everything are frequent."""
    images, places = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    keep = torch.zeros(images, places)
    for row in keep:
        kind = draw(st.sampled_from(["none", "one", "all", "all but one", "random"]))
        if kind == "random":
            row.copy_((torch.rand(places, generator=generator) < draw(st.floats(0, 1))).float())
        else:
            row.fill_(float(kind.startswith("all")))
            if kind in ("one", "all but one"):
                row[draw(st.integers(0, places - 1))] = 1 - row[0]
    return torch.randn(images, places, 16, generator=generator), keep


def merger(causal: bool = True, softmax: str = "exact", sharpness: float = 1.0, heads: int = 2) -> TokenMerger:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = TokenMerger(16, blocks=2, heads=heads, causal=causal, softmax=softmax)
        for name, parameter in made.named_parameters():
            # Fan-in weights, and no bias at zero, so that a forgotten one shows.
            mean, std = float("norm" in name and name.endswith("weight")), 0.1
            if parameter.dim() == 2:
                std = parameter.shape[1] ** -0.5 * (sharpness if any(n in name for n in ("qkv", "query", "key")) else 1)
            torch.nn.init.normal_(parameter, mean, std)
    return made.eval()


@settings(max_examples=60, deadline=None)
@given(batch=batches(), causal=st.booleans(), heads=st.sampled_from([1, 2, 4]), dtype=st.sampled_from(list(DIGITS)))
def test_packed_rows_are_the_dense_rows(
    batch: tuple[Tensor, Tensor], causal: bool, heads: int, dtype: torch.dtype
) -> None:
    features, keep = (x.to(dtype) for x in batch)
    net = merger(causal, heads=heads).to(dtype)
    with torch.no_grad():
        dense = net(features, keep)[keep > 0]
        packed = net.packed(features, keep)
    assert packed.shape == dense.shape
    assert torch.allclose(packed, dense, atol=DIGITS[dtype], rtol=DIGITS[dtype])


@settings(max_examples=30, deadline=None)
@given(batch=batches())
def test_packed_rows_are_near_the_policy_form(batch: tuple[Tensor, Tensor]) -> None:
    # The sharper the scores, the more the official softmax leaks: a thousandth passes in an image of two patches whose
    # forbidden key scores far above the allowed one.
    features, keep = batch
    policy = merger(softmax="policy", sharpness=0.7)
    with torch.no_grad():
        official = policy.packed(features, keep)
        assert torch.allclose(official, policy(features, keep)[keep > 0])
        assert torch.allclose(merger(sharpness=0.7).packed(features, keep), official, atol=5e-4)


def test_an_image_that_drops_nothing_reads_the_mean_of_the_values() -> None:
    net, features = merger(), torch.randn(2, 6, 16)
    cross = net.blocks[0].cross_attention
    kept = pack_kept(torch.ones(2, 6))
    memory = kept.take_memory(features)
    with torch.no_grad():
        read = cross.packed(torch.randn(12, 16), memory, kept.rows, kept.memory)
        mean = cross.out(cross.value(features).mean(1))
    assert torch.allclose(read.view(2, 6, 16), mean[:, None].expand(-1, 6, -1), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(batch=batches(), data=st.data(), kind=st.sampled_from(["causal", "bidirectional", "mean", "none"]))
def test_images_do_not_see_each_other(batch: tuple[Tensor, Tensor], data: st.DataObject, kind: str) -> None:
    features, keep = batch
    net = {"mean": MeanMerger(16), "none": NoMerger(16)}.get(kind) or merger(kind == "causal")
    order = torch.tensor(data.draw(st.permutations(range(len(keep)))))
    counts = keep.sum(1).long()
    with torch.no_grad():
        parts = net.packed(features, keep).split(counts.tolist())
        moved = net.packed(features[order], keep[order]).split(counts[order].tolist())
    for place, image in enumerate(order.tolist()):
        assert torch.allclose(moved[place], parts[image], atol=1e-5)


@pytest.mark.parametrize("kind", [PlaceDecoder, RankDecoder])
@settings(max_examples=30, deadline=None)
@given(keep=st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4))
def test_decoders_read_packed_tokens_as_weighted_places(kind: type, keep: list[list[bool]]) -> None:
    torch.manual_seed(1)
    net = kind(code_dim=4, feature_dim=8, layout=per_patch(3), width=16, blocks=2, heads=2).eval()
    keep_BM = torch.tensor(keep).float()
    if kind is RankDecoder:  # which leaves an image of no tokens to the packed form, see below
        keep_BM[:, 0] = 1
    vectors = torch.randn(len(keep), 9, 4)
    kept = pack_kept(keep_BM)
    with torch.no_grad():
        weighted = net(vectors, keep_BM)
        packed = net.packed(kept.take(vectors), kept.kept_R % 9, kept.rows)
    assert torch.allclose(weighted, packed, atol=1e-4)


def test_rank_decoder_gives_an_image_of_no_tokens_the_bare_ranks() -> None:
    torch.manual_seed(1)
    net = RankDecoder(code_dim=4, feature_dim=8, layout=per_patch(3), width=16, blocks=1, heads=2).eval()
    with torch.no_grad():
        out = net.packed(torch.randn(5, 4), torch.arange(5), pack_counts(torch.tensor([0, 5])))
        two = net.packed(torch.randn(2, 4), torch.arange(2), pack_counts(torch.tensor([0, 2])))
        none = net.packed(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), pack_counts(torch.tensor([0])))
    assert torch.isfinite(out).all()
    assert torch.isfinite(none).all()
    assert not torch.allclose(out[0], two[0])  # as many ranks as the longest image of the batch has


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 40), codes=st.integers(1, 70), at_once=st.integers(1, 500), seed=st.integers(0, 999))
def test_codes_do_not_depend_on_how_the_search_is_cut(rows: int, codes: int, at_once: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors, codebook = torch.randn(rows, 5, generator=generator), torch.randn(codes, 5, generator=generator)
    found = nearest_codes(vectors, codebook, at_once)
    assert torch.equal(found, torch.cdist(vectors.double(), codebook.double()).argmin(-1))


def test_the_first_of_equal_codes_wins_and_autocast_changes_nothing() -> None:
    torch.manual_seed(0)
    codebook = torch.nn.functional.normalize(torch.randn(300, 8), dim=-1).repeat(2, 1)
    vectors = torch.nn.functional.normalize(torch.randn(2, 50, 8), dim=-1)
    codes = nearest_codes(vectors, codebook)
    assert codes.max() < 300
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest_codes(vectors, codebook), codes)
