"""The processors of drawing: what each keeps, and what it leaves alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavit.model.sampling import FORBIDDEN, draw, forbid, guide, top_k, top_p

# Coarse values, so that ties are common.
ROWS = st.lists(st.integers(-12, 12), min_size=2, max_size=12).map(lambda row: torch.tensor([row]) / 4)


@given(ROWS, st.integers(1, 14))
def test_top_k_keeps_exactly_k_and_none_that_is_smaller_than_one_it_drops(scores: torch.Tensor, k: int) -> None:
    kept = top_k(scores, k) > FORBIDDEN
    assert int(kept.sum()) == min(k, scores.shape[1])
    if not bool(kept.all()):
        assert scores[kept].min() >= scores[~kept].max()
    assert torch.equal(top_k(scores, k)[kept], scores[kept])


@given(ROWS, st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_prefix_that_has_the_mass(scores: torch.Tensor, p: float) -> None:
    kept = top_p(scores, p) > FORBIDDEN
    mass = scores.double().softmax(-1)
    assert float(mass[kept].sum()) >= p - 1e-6
    assert float(mass[kept].sum() - mass[kept].min()) < p + 1e-6, "one fewer would have been enough"
    if not bool(kept.all()):
        assert scores[kept].min() >= scores[~kept].max()


def test_top_p_keeps_one_entry_and_at_one_every_entry() -> None:
    scores = torch.tensor([[0.0, 5.0, 1.0], [2.0, 2.0, 2.0]])
    assert (top_p(scores, 1e-9) > FORBIDDEN).tolist() == [[False, True, False], [True, False, False]]
    assert torch.equal(top_p(scores, 1.0), scores)


@given(ROWS, st.floats(0, 8), st.randoms())
def test_guidance_is_the_formula_and_exact_at_its_two_ends(
    conditional: torch.Tensor, scale: float, random: object
) -> None:
    unconditional = conditional[:, torch.tensor(sorted(range(conditional.shape[1]), key=lambda _: random.random()))]  # type: ignore[attr-defined]
    own, free = conditional.log_softmax(-1), unconditional.log_softmax(-1)
    assert torch.equal(guide(conditional, unconditional, 1.0), own)
    assert torch.equal(guide(conditional, unconditional, 0.0), free)
    assert torch.allclose(guide(conditional, unconditional, scale), free + scale * (own - free), atol=1e-4)


def test_guidance_keeps_what_is_forbidden_and_makes_no_nan() -> None:
    scores = forbid(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), slice(1, 3))
    guided = guide(scores, scores.flip(0), 3.0)
    assert bool((guided[:, 1:3] == FORBIDDEN).all()) and bool(guided[:, [0, 3, 4]].isfinite().all())


def test_forbidding_takes_slices_and_single_entries() -> None:
    assert (forbid(torch.zeros(1, 6), slice(1, 3), 5)[0] == FORBIDDEN).tolist() == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]


def test_a_draw_is_greedy_at_zero_and_else_follows_the_filtered_softmax() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, FORBIDDEN]]).repeat(4000, 1)
    assert draw(scores, 0.0, None).unique().tolist() == [1]
    generator = torch.Generator().manual_seed(0)
    shares = draw(scores, 2.0, generator).bincount(minlength=4) / 4000
    assert shares.tolist() == pytest.approx((scores[0] / 2).softmax(-1).tolist(), abs=0.03)
    assert sorted(draw(scores, 2.0, generator, k=2).unique().tolist()) == [1, 2]
    assert draw(scores, 2.0, generator, p=0.4).unique().tolist() == [1]


def test_equal_generators_draw_equally() -> None:
    scores = torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    first, second = (draw(scores, 1.0, torch.Generator().manual_seed(5), 10, 0.9) for _ in range(2))
    assert torch.equal(first, second)
