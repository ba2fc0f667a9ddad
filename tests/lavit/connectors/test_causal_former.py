"""Emu's Causal Former is causal among its queries, sees every feature, and measures distance as T5 does."""

import torch

from lavit.connectors.causal_former import CausalFormer, distance_buckets


def small(**options: object) -> CausalFormer:
    torch.manual_seed(0)
    return CausalFormer(8, 10, patches=16, tokens=4, depth=2, hidden=12, heads=3, **options)  # type: ignore[arg-type]


def test_an_embedding_depends_on_no_later_query_and_on_every_earlier_one() -> None:
    former = small()
    features_BNC, mask_BN = torch.randn(2, 16, 8), torch.ones(2, 16, dtype=torch.bool)
    before_BMW = former(features_BNC, mask_BN)
    for changed in range(4):
        other = small()
        other.queries_MH.data[changed] += torch.randn(12)
        moved_M = (other(features_BNC, mask_BN) - before_BMW).abs().amax(dim=(0, 2))
        assert (moved_M[:changed] == 0).all()
        assert (moved_M[changed:] > 1e-6).all()


def test_every_embedding_sees_every_feature() -> None:
    former = small()
    features_BNC = torch.randn(1, 16, 8, requires_grad=True)
    embeddings_BMW = former(features_BNC, torch.ones(1, 16, dtype=torch.bool))
    for embedding_W in embeddings_BMW[0]:
        (gradient_BNC,) = torch.autograd.grad(embedding_W.square().sum(), features_BNC, retain_graph=True)
        assert (gradient_BNC.abs().sum(-1) > 0).all()


def test_distances_fall_into_t5s_buckets() -> None:
    behind = torch.tensor([-3, 0, 1, 15, 16, 17, 19, 127, 128, 5000])
    # 32 buckets up to 128: 16 single distances, then 16 log-spaced ones; 16 * log(19 / 16) / log(8) is 1.32
    assert distance_buckets(behind, 32, 128).tolist() == [0, 0, 1, 15, 16, 16, 17, 31, 31, 31]
