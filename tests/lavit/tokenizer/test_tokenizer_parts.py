"""The tokenizer's parts, each for itself."""

from __future__ import annotations

import pytest
import torch

from lavit.errors import LavitError
from lavit.tokenizer.attention import exact_softmax, policy_softmax
from lavit.tokenizer.merger import TokenMerger
from lavit.tokenizer.objective import commitment_loss, keep_loss, mixed_vectors
from lavit.tokenizer.pooling import per_patch, pool_grid, pool_sequence
from lavit.tokenizer.quantizer import Quantizer
from lavit.tokenizer.selector import KeepRandom, TokenSelector, image_keys


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_exact_softmax_gives_forbidden_keys_nothing_and_nobody_the_mean() -> None:
    scores = torch.randn(2, 3, 4, 5)
    weights = torch.tensor([[1.0, 0, 1, 0, 0], [0.0] * 5])[:, None].expand(-1, 4, -1)
    weights = weights.clone().requires_grad_()
    probs = exact_softmax(scores, weights)
    assert torch.allclose(probs.sum(-1), torch.ones(2, 3, 4))
    assert (probs[0, ..., [1, 3, 4]] == 0).all()
    assert torch.allclose(probs[1], torch.full((3, 4, 5), 0.2))
    assert torch.allclose(probs[0, ..., [0, 2]], scores[0][..., [0, 2]].softmax(-1))
    (probs * torch.randn_like(probs)).sum().backward()
    assert weights.grad is not None
    assert weights.grad[0].abs().sum() > 0
    assert torch.isfinite(weights.grad).all()


def test_policy_softmax_is_near_the_exact_one_and_leaks() -> None:
    scores = torch.randn(2, 1, 4, 6)
    weights = (torch.rand(2, 4, 6, generator=generator()) > 0.4).float()
    weights[..., 0] = 1
    exact, policy = exact_softmax(scores, weights), policy_softmax(scores, weights)
    assert (exact - policy).abs().max() < 1e-4
    assert (policy > 0).all()
    assert torch.allclose(policy_softmax(scores, torch.zeros(2, 4, 6)), torch.full_like(policy, 1 / 6))


def test_selector_is_deterministic_and_keeps_at_least_one() -> None:
    torch.manual_seed(0)
    selector = TokenSelector(16, 9)
    features = torch.randn(5, 9, 16)
    first, second = selector(features), selector(features)
    assert torch.equal(first.keep_BM, second.keep_BM)
    with torch.no_grad():
        selector.decide[-1].bias.copy_(torch.tensor([-50.0, 50.0]))
    assert (selector(features).keep_BM.sum(1) == 1).all()
    sampled = selector(features, generator())
    assert (sampled.keep_BM.sum(1) == 1).all()


def test_selector_samples_hard_values_that_carry_gradients() -> None:
    torch.manual_seed(0)
    selector = TokenSelector(16, 9)
    keep = selector(torch.randn(5, 9, 16), generator()).keep_BM
    assert ((keep - keep.round()).abs() < 1e-6).all()
    keep_loss(keep, 0.3, "batch").backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in selector.parameters())


def test_selector_modes_draw_by_image_and_meet_their_budget() -> None:
    torch.manual_seed(0)
    features, keys = torch.randn(5, 9, 16), torch.arange(5)
    selector = TokenSelector(16, 9, mode="sample")
    drawn = selector(features, keys_B=keys).keep_BM
    assert torch.equal(selector(features[[3, 1]], keys_B=keys[[3, 1]]).keep_BM, drawn[[3, 1]])
    assert not torch.equal(drawn, selector(features, keys_B=keys + 5).keep_BM)
    with pytest.raises(LavitError, match="generator or the images' keys"):
        selector(features)
    exact = TokenSelector(16, 9, mode="top_k", budget=4)
    assert (exact(features).keep_BM.sum(1) == 4).all()
    assert (exact(features, generator()).keep_BM.detach().sum(1) == 4).all()
    score = exact.log_probs(features)[..., 0]
    assert (
        score[exact(features).keep_BM > 0].view(5, 4).amin(1) >= score[exact(features).keep_BM == 0].view(5, 5).amax(1)
    ).all()
    for wrong in ({"mode": "top_k"}, {"budget": 3}, {"mode": "top_k", "budget": 10}, {"mode": "best"}):
        with pytest.raises(LavitError, match=r"tokens\.selector\."):
            TokenSelector(16, 9, **wrong)


def test_the_official_selector_may_keep_nothing() -> None:
    selector = TokenSelector(16, 9, at_least_one=False)
    with torch.no_grad():
        selector.decide[-1].bias.copy_(torch.tensor([-50.0, 50.0]))
    assert selector(torch.randn(2, 9, 16)).keep_BM.sum() == 0


def test_dropped_features_reach_kept_rows_through_cross_attention_only() -> None:
    torch.manual_seed(0)
    merger = TokenMerger(16, blocks=2, heads=2)
    features = torch.randn(1, 6, 16)
    keep = torch.tensor([[1.0, 0, 1, 0, 0, 1]])
    before = merger(features, keep)
    changed = features.clone()
    changed[0, 5] += 3  # a later kept patch: causal attention hides it from the earlier ones
    assert torch.allclose(merger(changed, keep)[0, :5], before[0, :5], atol=1e-6)
    changed = features.clone()
    changed[0, 4] += torch.randn(16)  # a dropped patch reaches every kept one
    assert ((merger(changed, keep) - before)[0, [0, 2, 5]].abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("keep", [[1.0] * 6, [0.0, 0, 0, 1, 0, 0]])
def test_merger_bears_all_and_one_kept(keep: list[float]) -> None:
    torch.manual_seed(0)
    merger = TokenMerger(16, blocks=1, heads=2)
    keep_BM = torch.tensor([keep, keep]).requires_grad_()
    out = merger(torch.randn(2, 6, 16), keep_BM)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert keep_BM.grad is not None
    assert torch.isfinite(keep_BM.grad).all()


def test_a_dropped_patch_cannot_change_kept_rows_through_other_dropped_rows() -> None:
    """What packing the kept rows relies on: rows of dropped places are never read."""
    torch.manual_seed(0)
    merger = TokenMerger(16, blocks=3, heads=2)
    features, keep = torch.randn(2, 6, 16), torch.tensor([[1.0, 0, 1, 1, 0, 0], [0, 1.0, 0, 0, 0, 1]])
    full = merger(features, keep)
    # Rows of dropped places carried as something else: replace what enters block 2 on those rows.
    merger.blocks[0].register_forward_hook(lambda m, i, o: o + (1 - keep[..., None]) * 7.0)
    assert torch.allclose(merger(features, keep)[keep > 0], full[keep > 0], atol=1e-5)


def test_codes_are_the_nearest_and_dead_ones_revive() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(8, codebook_size=12, code_dim=4)
    vectors = torch.nn.functional.normalize(torch.randn(64, 4), dim=-1)
    quantizer.initialise(vectors, generator())
    codes = quantizer.codes(vectors)
    distance = torch.cdist(vectors, quantizer.codebook_KD)
    assert torch.equal(codes, distance.argmin(-1))
    assert torch.allclose(quantizer.codebook_KD.norm(dim=-1), torch.ones(12), atol=1e-5)
    with torch.no_grad():
        quantizer.codebook_KD[1:] = -vectors.mean(0) / vectors.mean(0).norm()  # all but one are far from everything
    cluster = torch.nn.functional.normalize(vectors.mean(0) + 0.3 * torch.randn(64, 4), dim=-1)
    revived = 0
    for step in range(60):
        revived += quantizer.update(cluster, quantizer.codes(cluster), generator(step))
    assert revived > 0
    assert quantizer.codes(cluster).unique().numel() > 6


def test_revival_can_be_turned_off() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(8, codebook_size=6, code_dim=4, dead_below=0.0)
    vectors = torch.nn.functional.normalize(torch.randn(32, 4), dim=-1)
    assert sum(quantizer.update(vectors, torch.zeros(32, dtype=torch.long), generator(s)) for s in range(80)) == 0


def test_codebook_of_more_codes_than_tokens_is_refused() -> None:
    with pytest.raises(LavitError, match="codebook of 64"):
        Quantizer(8, 64, 4).initialise(torch.randn(10, 4), generator())


@pytest.mark.parametrize("cells", range(1, 17))
def test_grid_pooling_covers_every_patch_with_any_number_of_rectangles(cells: int) -> None:
    layout = pool_grid(4, cells)
    assert layout.num_places == cells
    assert torch.allclose(layout.gather_MN.sum(1), torch.ones(cells))
    assert torch.allclose(layout.spread_NM.sum(1), torch.ones(16))
    constant = torch.full((1, 16, 3), 2.0)
    assert torch.allclose(layout.spread(layout.gather(constant)), constant)
    assert layout.identity == (cells == 16)
    for share_NN in (layout.gather_MN.reshape(cells, 4, 4) > 0).float():
        assert share_NN.amax(1).sum() * share_NN.amax(0).sum() == share_NN.sum()  # a rectangle


def test_impossible_pooling_is_refused_with_what_is_possible() -> None:
    for pool in (pool_grid, pool_sequence):
        with pytest.raises(LavitError, match=r"tokens.mean=6.5 .* whole number of 1 to 16"):
            pool(4, 6.5)
        with pytest.raises(LavitError, match="17"):
            pool(4, 17)
    assert pool_sequence(4, 7).num_places == 7
    assert per_patch(4).identity


def test_random_keeps_its_mean_and_depends_on_the_image_alone() -> None:
    selector = KeepRandom(8, 16, mean=5.5)
    images = torch.randint(0, 255, (600, 8, 8, 3), dtype=torch.uint8)
    keys, features = image_keys(images), torch.randn(600, 16, 8)
    keep = selector(features, keys_B=keys).keep_BM
    assert abs(float(keep.sum(1).mean()) - 5.5) < 0.1
    assert set(keep.sum(1).tolist()) == {5.0, 6.0}
    assert torch.equal(selector(features[[7, 3]], keys_B=keys[[7, 3]]).keep_BM, keep[[7, 3]])
    assert (keep.mean(0) - 5.5 / 16).abs().max() < 0.08  # every place alike
    assert len(keys.unique()) == 600
    with pytest.raises(LavitError, match="mean=17"):
        KeepRandom(8, 16, mean=17)


def test_objective_pieces() -> None:
    keep = torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 0, 0]])
    assert float(keep_loss(keep, 0.25, "batch")) == 0
    assert float(keep_loss(keep, 0.25, "image")) == pytest.approx(0.0625)
    with pytest.raises(LavitError, match=r"keep\.per"):
        keep_loss(keep, 0.25, "epoch")
    vectors = torch.nn.functional.normalize(torch.randn(2, 4, 3), dim=-1).requires_grad_()
    assert float(commitment_loss(vectors, vectors.detach(), keep).detach()) == pytest.approx(0, abs=1e-6)
    quantised = torch.zeros(2, 4, 3)
    mixed = mixed_vectors(vectors, quantised, torch.tensor([[True], [False]]).expand(2, 4))
    assert torch.equal(mixed[0], vectors[0])
    assert torch.allclose(mixed[1], quantised[1], atol=1e-6)
    mixed.sum().backward()
    assert torch.equal(vectors.grad, torch.ones(2, 4, 3))
