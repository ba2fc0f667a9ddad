"""The choice of examples and of what they are shuffled with."""

from __future__ import annotations

import numpy as np
import pytest

from evals.choose import choose_examples, choose_partners
from evals.errors import EvaluationError


def test_a_smaller_evaluation_is_the_beginning_of_a_larger_one() -> None:
    assert choose_examples(100, 10).tolist() == choose_examples(100, 50)[:10].tolist()
    assert sorted(choose_examples(100, None)) == list(range(100))
    assert sorted(choose_examples(7, 50)) == list(range(7))


@pytest.mark.parametrize("count", [2, 3, 17, 256])
def test_nobody_keeps_its_own_image(count: int) -> None:
    partners = choose_partners(count)
    assert sorted(partners) == list(range(count))
    assert (partners != np.arange(count)).all()


def test_one_example_cannot_be_shuffled() -> None:
    with pytest.raises(EvaluationError, match="at least 2"):
        choose_partners(1)
