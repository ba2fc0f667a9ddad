"""Muon: orthogonal steps for matrices, torch's AdamW for everything else."""

import pytest
import torch
from torch import nn

from lavit.stages.muon import Muon, orthogonalised
from lavit.stages.training import OptimizerConfig


def layer(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    made = nn.Linear(6, 4)
    made.weight.grad, made.bias.grad = torch.randn(4, 6), torch.randn(4)
    return made


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 5, 5), (2, 8, 40)])
def test_orthogonalised_matrices_keep_their_singular_vectors_and_bring_the_values_near_one(shape) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    rotated = u.mT @ orthogonalised(x) @ v.mT
    values = torch.diagonal(rotated, dim1=-2, dim2=-1)
    assert values.min() > 0.3 and values.max() < 1.3
    assert (rotated - torch.diag_embed(values)).abs().max() < 1e-3


def test_what_is_not_orthogonal_takes_the_step_of_adamw_to_the_bit() -> None:
    ours, theirs = layer(), layer()
    Muon([{"params": [ours.weight], "orthogonal": True}, {"params": [ours.bias]}], lr=0.1, betas=(0.9, 0.98)).step()
    torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(0.9, 0.98)).step()
    assert torch.equal(ours.bias, theirs.bias)
    assert not torch.equal(ours.weight, theirs.weight)


def test_a_matrix_takes_a_step_as_long_as_adamws() -> None:
    for shape in ((64, 16), (16, 64), (32, 32)):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        Muon([{"params": [weight], "orthogonal": True}], lr=0.01, weight_decay=0.0).step()
        assert 0.01 * 0.15 < weight.square().mean().sqrt() < 0.01 * 0.3  # AdamW's is 0.2 to 0.4 of the rate


def test_muon_agrees_with_torch_for_one_matrix() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    ours, theirs = (nn.Parameter(torch.zeros(16, 64)) for _ in range(2))
    mine = Muon([{"params": [ours], "orthogonal": True}], lr=0.01, weight_decay=0.0)
    reference = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    draw = torch.Generator().manual_seed(3)
    for _ in range(5):
        ours.grad = torch.randn(16, 64, generator=draw)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
    assert torch.allclose(ours.norm(), theirs.norm(), rtol=0.02)  # torch works in bfloat16


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optimizer.method='sgd' is unknown; choose adamw or muon"):
        OptimizerConfig(lr=0.1, method="sgd")
