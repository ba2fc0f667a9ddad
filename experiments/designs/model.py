"""The linear model behind a design: its columns, what it can estimate, and with which weights over the arms.

Factors are coded by effects (a level's deviation from the axis's mean, the first level -1 in every column), so that a
main effect is averaged over the other axes' levels and two-way interactions are products. A term is estimable when the
rows of the model matrix span its coefficients (Searle, Linear Models, 1971, 5.4), and its best estimate is the least
squares one.

Shape letters: A arms, C columns of the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-8
Axes = Mapping[str, Sequence[str]]  # axis -> its levels
Rows = Sequence[Mapping[str, str]]  # an arm's levels each


def two_way(axes: Axes) -> list[str]:
    """Every two-way interaction of the axes that vary."""
    return ["*".join(pair) for pair in itertools.combinations(varied(axes), 2)]


def varied(axes: Axes) -> list[str]:
    """Axes that have more than one level."""
    return [axis for axis, levels in axes.items() if len(levels) > 1]


def size(axes: Axes, terms: Sequence[str]) -> int:
    """Number of coefficients of a model, the constant included."""
    total = 1
    for term in terms:
        product = 1
        for axis in term.split("*"):
            product *= len(axes[axis]) - 1
        total += product
    return total


def matrix(axes: Axes, arms: Rows, terms: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return the model matrix (A x C) and the term that each column belongs to ("" for the constant)."""
    import numpy as np

    coded = {axis: np.array([_code(axes[axis], arm.get(axis)) for arm in arms]) for axis in varied(axes)}
    blocks, owners = [np.ones((len(arms), 1))], [""]
    for term in terms:
        parts = [coded[axis] for axis in term.split("*")]
        block = parts[0]
        for part in parts[1:]:
            block = (block[:, :, None] * part[:, None, :]).reshape(len(arms), -1)
        blocks.append(block)
        owners += [term] * block.shape[1]
    return np.hstack(blocks), owners


def _code(levels: Sequence[str], level: str | None) -> list[float]:
    if level not in levels or level == levels[0]:  # an axis that an arm has no level of stands at its first
        return [-1.0] * (len(levels) - 1)
    return [float(level == other) for other in levels[1:]]


def rank(matrix_AC: np.ndarray) -> int:
    """Number of independent columns."""
    import numpy as np

    return int(np.linalg.matrix_rank(matrix_AC, tol=TOLERANCE * max(1.0, float(np.abs(matrix_AC).max()))))


def not_estimable(axes: Axes, arms: Rows, terms: Sequence[str]) -> list[str]:
    """Terms of the model of which a coefficient is lost in these arms."""
    import numpy as np

    matrix_AC, owners = matrix(axes, arms, terms)
    _, values, rows_CC = np.linalg.svd(matrix_AC, full_matrices=True)
    null = rows_CC[int((values > TOLERANCE * values.max()).sum()) :]
    lost = np.abs(null).max(axis=0) > 1e-6 if len(null) else np.zeros(len(owners), bool)
    return [term for term in terms if any(gone and owner == term for gone, owner in zip(lost, owners, strict=True))]


def main_weights(axes: Axes, arms: Rows, terms: Sequence[str], axis: str, high: str, low: str) -> list[float] | None:
    """Weights over the arms of the least squares estimate of `high` less `low`; None where it is not estimable."""
    import numpy as np

    matrix_AC, owners = matrix(axes, arms, terms)
    wanted_C = np.zeros(len(owners))
    own = [i for i, owner in enumerate(owners) if owner == axis]
    wanted_C[own] = np.subtract(_code(axes[axis], high), _code(axes[axis], low))
    weights_A = wanted_C @ np.linalg.pinv(matrix_AC, rcond=TOLERANCE)
    if not np.allclose(weights_A @ matrix_AC, wanted_C, atol=1e-6):
        return None
    weights_A[np.abs(weights_A) < 1e-12] = 0.0
    return [float(weight) for weight in weights_A]


def alias_chains(axes: Axes, arms: Rows) -> list[str]:
    """Main effects and two-way interactions that are one and the same column here: `llm*regime = tokens*target`.

    For axes of two levels; a chain's terms can only be told apart by assuming all but one of them nil.
    """

    two = {axis: levels for axis, levels in axes.items() if len(levels) == 2 and len({a.get(axis) for a in arms}) > 1}
    terms = [*varied(two), *two_way(two)]
    if not terms:
        return []
    matrix_AC = matrix(two, arms, terms)[0][:, 1:]
    chains: list[tuple[np.ndarray, list[str]]] = []
    for column_A, term in zip(matrix_AC.T, terms, strict=True):
        for first_A, chain in chains:
            if abs(first_A @ column_A) == len(arms):
                chain.append(term)
                break
        else:
            chains.append((column_A, [term]))
    return [" = ".join(chain) for _, chain in chains if len(chain) > 1]
