"""The Perceiver resampler: keys hold the latents, features and latents have norms of their own, masks hide features."""

import torch
from torch import Tensor, nn

from lavit.connectors.resampler import Resampler


def small(**options: object) -> Resampler:
    torch.manual_seed(0)
    return Resampler(8, 10, patches=9, tokens=4, **{"depth": 2, "heads": 2, "head_dim": 4} | options)  # type: ignore[arg-type]


def every(batch: int) -> Tensor:
    return torch.ones(batch, 9, dtype=torch.bool)


def test_a_latent_sees_the_other_latents_because_keys_hold_them() -> None:
    resampler = small(depth=1)
    features_BNC = torch.randn(1, 9, 8)
    before_MW = resampler(features_BNC, every(1))[0]
    resampler.queries_MC.data[3] += torch.randn(8)
    after_MW = resampler(features_BNC, every(1))[0]
    assert ((after_MW - before_MW).abs().amax(1) > 1e-5).all()  # of the features alone, only the fourth would move


def test_latents_are_drawn_with_unit_deviation() -> None:
    torch.manual_seed(0)
    latents = Resampler(64, 10, patches=9, tokens=64, depth=1, heads=2, head_dim=4).queries_MC
    assert 0.95 < float(latents.detach().std()) < 1.05


def test_features_and_latents_have_norms_of_their_own() -> None:
    resampler = small(depth=1)
    layer = resampler.layers[0]
    seen: dict[str, Tensor] = {}
    for name in ("norm_features", "norm_latents"):
        norm = layer.get_submodule(name)
        norm.register_forward_hook(lambda _, args, out, name=name: seen.update({name: args[0]}))
    features_BNC = torch.randn(2, 9, 8)
    resampler(features_BNC, every(2))
    assert torch.equal(seen["norm_features"], features_BNC + resampler.positions_NC)
    assert torch.equal(seen["norm_latents"], resampler.queries_MC.expand(2, -1, -1))
    before = resampler(features_BNC, every(2))
    with torch.no_grad():
        layer.get_parameter("norm_features.weight").zero_()
        layer.get_parameter("norm_features.bias").zero_()
    blind = resampler(features_BNC, every(2))  # features are gone, latents are not
    assert not torch.allclose(blind, before)
    assert torch.allclose(blind[0], blind[1])
    assert not torch.allclose(blind[0, 0], blind[0, 1])


def test_features_that_are_masked_have_no_influence() -> None:
    resampler = small()
    features_BNC, mask_BN = torch.randn(2, 9, 8), torch.arange(9) < torch.tensor([[9], [5]])
    out_BMW = resampler(features_BNC, mask_BN)
    features_BNC[1, 5:] = 100.0
    assert torch.equal(resampler(features_BNC, mask_BN), out_BMW)
    features_BNC[1, 4] = torch.randn(8)
    assert not torch.allclose(resampler(features_BNC, mask_BN)[1], out_BMW[1])


def test_without_places_the_order_of_features_means_nothing() -> None:
    features_BNC, order = torch.randn(1, 9, 8), torch.randperm(9)
    bag, placed = small(positions=False), small()
    assert torch.allclose(bag(features_BNC[:, order], every(1)), bag(features_BNC, every(1)), atol=1e-5)
    assert not torch.allclose(placed(features_BNC[:, order], every(1)), placed(features_BNC, every(1)), atol=1e-3)


def test_it_has_no_biases_and_a_way_out_only_where_widths_differ() -> None:
    resampler = small()
    names = [name for name, _ in resampler.named_parameters() if name.endswith("bias") and "norm" not in name]
    assert [name for name in names if "forward_part.0" not in name] == ["out.bias"]  # forward_part.0 is a norm
    same = Resampler(8, 8, patches=9, tokens=4, depth=1, heads=2, head_dim=4)
    assert isinstance(same.out, nn.Identity)
