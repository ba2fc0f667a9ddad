"""Which examples are evaluated and with what they are shuffled: fixed, the same for every arm and seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError

Indices = npt.NDArray[np.int64]

# Fixed on purpose: records of different runs are compared example by example.
_ORDER_SEED = 20240214
_PARTNER_SEED = 20240215


def choose_examples(size: int, count: int | None) -> Indices:
    """``count`` of ``size`` indices in evaluation order: a prefix of one fixed random order.

    A prefix, so that a smaller evaluation is a part of a larger one; random, because a folder of images lies
    in an order that means something, and its first rows do not stand for the rest.

    Args:
        size: number of images in the split.
        count: how many to take; all of them where it is ``None`` or exceeds ``size``.
    """
    order = np.random.default_rng(_ORDER_SEED).permutation(size).astype(np.int64)
    return order if count is None else order[: max(0, count)]


def choose_partners(count: int) -> Indices:
    """A fixed derangement of ``range(count)``: ``partners[i]`` is whose image example ``i`` is shown instead.

    One single cycle (Sattolo's algorithm), so that no example keeps its image.

    Raises:
        EvaluationError: fewer than two examples cannot be shuffled.
    """
    if count < 2:
        raise EvaluationError(f"the shuffled control needs at least 2 images, there are {count}: raise its count")
    random = np.random.default_rng(_PARTNER_SEED)
    partners = np.arange(count, dtype=np.int64)
    for last in range(count - 1, 0, -1):
        other = int(random.integers(0, last))
        partners[last], partners[other] = partners[other], partners[last]
    return partners
