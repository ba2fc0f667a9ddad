"""The quantizers behind one interface: what their losses move, how codebooks follow, what codes stand for."""

from __future__ import annotations

import pytest
import torch

from lavit.errors import LavitError
from lavit.tokenizer.codebook import VectorQuantizer
from lavit.tokenizer.euclidean import EuclideanQuantizer
from lavit.tokenizer.finite_scalar import FiniteScalarQuantizer
from lavit.tokenizer.objective import mixed_vectors
from lavit.tokenizer.quantizer import Quantizer


def all_kinds() -> list[VectorQuantizer]:
    torch.manual_seed(0)
    return [
        Quantizer(12, 16, 4),
        Quantizer(12, 16, 4, learn="gradient"),
        EuclideanQuantizer(12, 16, 4),
        EuclideanQuantizer(12, 16, 4, project="tanh", l2_norm=True),
        EuclideanQuantizer(12, 16, 4, learn="ema"),
        FiniteScalarQuantizer(12, [4, 4]),
    ]


@pytest.mark.parametrize("number", range(6))
def test_a_code_is_the_code_of_its_own_vector_and_gradients_go_straight_through(number: int) -> None:
    quantizer = all_kinds()[number]
    assert quantizer.codebook_size == 16
    codes_K = torch.arange(16)
    assert torch.equal(quantizer.codes(quantizer.lookup(codes_K).detach()), codes_K)
    merged_BMC = torch.randn(3, 5, 12, requires_grad=True)
    vectors = quantizer.vectors(merged_BMC)
    assert vectors.shape == (3, 5, quantizer.code_dim)
    if quantizer.unit:
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(3, 5))
    quantised = quantizer.lookup(quantizer.codes(vectors))
    used = mixed_vectors(vectors, quantised.detach(), torch.zeros(3, 5, dtype=torch.bool))
    assert torch.allclose(used, quantised, atol=1e-6), "forward, codes stand in the vectors' place"
    slope = torch.randn_like(used)
    (gradient,) = torch.autograd.grad((used * slope).sum(), vectors)
    assert torch.equal(gradient, slope), "backward, they are not there"


@pytest.mark.parametrize(("legacy", "of_codes", "of_vectors"), [(False, 1.0, 0.25), (True, 0.25, 1.0)])
def test_the_legacy_switch_puts_beta_on_the_wrong_term(legacy: bool, of_codes: float, of_vectors: float) -> None:
    quantizer = EuclideanQuantizer(12, 16, 4, legacy_beta=legacy)
    vectors_RD = torch.randn(7, 4, requires_grad=True)
    codes_R = quantizer.codes(vectors_RD)
    total, _ = quantizer.loss(vectors_RD, quantizer.lookup(codes_R), torch.ones(7), beta=0.25)
    total.backward()
    error_RD = (vectors_RD - quantizer.codebook_KD[codes_R]).detach() * 2 / vectors_RD.numel()
    assert vectors_RD.grad is not None
    assert torch.allclose(vectors_RD.grad, of_vectors * error_RD)
    expected_KD = torch.zeros(16, 4).index_add(0, codes_R, -of_codes * error_RD)
    assert quantizer.codebook_KD.grad is not None
    assert torch.allclose(quantizer.codebook_KD.grad, expected_KD, atol=1e-7)


def test_codebooks_begin_at_tokens_follow_them_and_revive() -> None:
    generator = torch.Generator().manual_seed(0)
    centres_KD = torch.tensor([[4.0, 0], [0, 4], [-4, 0], [0, -4]])
    vectors_RD = centres_KD.repeat(50, 1) + 0.1 * torch.randn(200, 2, generator=generator)
    quantizer = EuclideanQuantizer(8, 4, 2, init="kmeans", learn="ema", decay=0.5, dead_below=0.05)
    quantizer.initialise(vectors_RD, generator)
    own = quantizer.codes(vectors_RD)
    for code in own.unique():
        assert torch.allclose(quantizer.codebook_KD[code], vectors_RD[own == code].mean(0), atol=1e-4)
    before_KD = quantizer.codebook_KD.clone()
    moved_RD = vectors_RD[:1] * 2
    code = int(quantizer.codes(moved_RD))
    assert quantizer.update(moved_RD, torch.tensor([code]), generator) == 0
    assert torch.allclose(quantizer.codebook_KD[code], (before_KD[code] + moved_RD[0]) / 2), "halfway to its mean"
    others = [k for k in range(4) if k != code]
    assert torch.equal(quantizer.codebook_KD[others], before_KD[others])
    revived = sum(quantizer.update(moved_RD, torch.tensor([code]), generator) for _ in range(60))
    assert revived >= 3, "codes that nobody takes move to tokens"
    with pytest.raises(LavitError, match="cannot be initialised from 3 tokens"):
        quantizer.initialise(vectors_RD[:3], generator)


def test_finite_levels_are_all_reached_and_spelled() -> None:
    quantizer = FiniteScalarQuantizer(3, [5, 4])
    quantizer.project = torch.nn.Identity()  # type: ignore[assignment]
    line = torch.linspace(-6, 6, 400)
    grid = torch.cartesian_prod(line, line)
    codes = quantizer.codes(quantizer.vectors(grid))
    assert sorted(set(codes.tolist())) == list(range(20))
    assert quantizer.lookup(torch.tensor([0, 4, 19])).tolist() == [[-1, -1], [1, -1], [1, 0.5]]
    assert float(quantizer.loss(grid, grid, torch.ones(len(grid)), 0.25)[0]) == 0


def test_unknown_settings_are_named() -> None:
    with pytest.raises(LavitError, match=r"tokenizer\.quantizer\.project='mlp'"):
        EuclideanQuantizer(8, 4, 2, project="mlp")
    with pytest.raises(LavitError, match="at least two levels"):
        FiniteScalarQuantizer(8, [3, 1])
