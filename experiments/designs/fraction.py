"""A fraction: the arms that estimate a stated model best, chosen among the valid ones.

Where every axis has two levels, nothing is void and the number of arms is a power of two, this is the textbook's
regular fraction 2^(k-p) (Box & Hunter 1961), with its alias table. Everywhere else the arms are D-optimal: they
maximise det(X'X) of the model, found by Fedorov's exchange (Theory of Optimal Experiments, 1972) from several starts. A
textbook fraction is never filtered for voids afterwards: what is left of it estimates less than a D-optimal choice.

Shape letters: A arms of the fraction, N candidates, C columns of the model, R those that can be estimated.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.design import MAX_ARMS, Design, Levels, Removals, combinations, full_size, make_arm
from experiments.designs import model
from experiments.errors import LavitError
from experiments.study import Study
from experiments.voids import find_void

if TYPE_CHECKING:
    import numpy as np

STARTS = 32
_RIDGE = 1e-6  # lets the exchange start from arms that do not span the model yet
_MOST_FACTORS = 20  # of the textbook's search
_TRIED = 200  # generator sets that the textbook's search looks at


def build(study: Study) -> Design:
    """The default and the other arms of the fraction, in the order of the full design."""
    wanted, terms = int(study.design_options["arms"]), list(study.design_options["terms"])
    axes = {axis.name: list(axis.levels) for axis in study.axes.values()}
    if full_size(study) > MAX_ARMS:
        raise LavitError(
            f"{study.file}: design: fraction chooses among {full_size(study)} combinations, more than {MAX_ARMS}",
            "take levels out, or write design: one_at_a_time",
        )
    removed = Removals()
    valid = valid_arms(study, removed)
    if wanted > len(valid):
        raise LavitError(
            f"{study.file}: design: fraction: {wanted} arms are asked for, and there are {len(valid)} valid ones",
            "write design: full for all of them, or a smaller number",
        )
    needed = needed_arms(study, valid)
    if wanted < needed:
        raise LavitError(
            f"{study.file}: design: fraction: {wanted} arms are too few: the model ({_said(terms, axes)}) has {needed} "
            "coefficients",
            f"write fraction: {needed} or more, or estimate less",
        )
    textbook = _textbook(axes, valid, terms, wanted) if is_regular(study, len(valid), wanted) else None
    chosen, method, aliases = textbook or (
        [valid[i] for i in choose(axes, valid, terms, wanted)],
        f"D-optimal for {_said(terms, axes)} among {len(valid)} valid arms",
        (),
    )
    arms = tuple(make_arm(study, dict(levels)) for levels in chosen)
    return Design(arms, removed.collect(), model=tuple(terms), method=method, aliases=tuple(aliases))


def valid_arms(study: Study, removed: Removals | None = None) -> list[Levels]:
    """Every combination that is not void, the default first."""
    valid = []
    for levels in combinations(study):
        void = find_void(study.voids, levels)
        if void is None:
            valid.append(levels)
        elif removed is not None:
            removed.add(void, levels)
    return valid


def needed_arms(study: Study, valid: Sequence[Levels]) -> int:
    """Coefficients of the study's model (the main effects', where it names none) that the valid arms can estimate."""
    axes = {axis.name: list(axis.levels) for axis in study.axes.values()}
    terms = study.design_options.get("terms", model.varied(axes))
    return model.rank(model.matrix(axes, valid, terms)[0])


def is_regular(study: Study, valid: int, wanted: int) -> bool:
    """Whether the textbook has a fraction of this size in which no two main effects are aliased with each other."""
    sizes = [len(axis.levels) for axis in study.axes.values() if len(axis.levels) > 1]
    whole = set(sizes) == {2} and valid == 2 ** len(sizes) and len(sizes) <= _MOST_FACTORS
    return whole and wanted & (wanted - 1) == 0 and len(sizes) < wanted < valid


def _said(terms: Sequence[str], axes: model.Axes) -> str:
    crossed = [term.replace("*", " x ") for term in terms if "*" in term]
    if crossed and len(crossed) == len(model.two_way(axes)):
        return "main effects and all two-way interactions"
    return " and ".join(["main effects", *crossed])


def choose(axes: model.Axes, candidates: Sequence[Levels], terms: Sequence[str], wanted: int) -> list[int]:
    """Return the indices of a D-optimal choice of so many candidates, the first candidate always among them.

    Coefficients that no choice could estimate (because of voids) are left out of the determinant. Starts are drawn by
    a generator seeded with the question itself, so that the same study always has the same arms.
    """
    import numpy as np

    full_NC = model.matrix(axes, candidates, terms)[0]
    if wanted == len(candidates):
        return list(range(wanted))
    _, values, rows_CC = np.linalg.svd(full_NC, full_matrices=False)
    basis_CR = rows_CC[values > model.TOLERANCE * values.max()].T  # the estimable part
    span_NR = full_NC @ basis_CR
    asked = json.dumps([dict(axes), [dict(c) for c in candidates], list(terms), wanted], sort_keys=True)
    generator = random.Random(int(hashlib.sha256(asked.encode()).hexdigest()[:16], 16))
    best: tuple[float, float, list[int]] | None = None
    for _ in range(STARTS if len(candidates) <= 500 else STARTS // 4):
        order = sorted(range(1, len(candidates)), key=lambda _: generator.random())
        found = _exchange(span_NR, [0, *order[: wanted - 1]])
        key = (*_criteria(span_NR[found], basis_CR), found)
        best = key if best is None else min(best, key)
    assert best is not None
    return best[2]


def _exchange(span_NR: np.ndarray, start: list[int]) -> list[int]:
    """Swap the pair that raises det(X'X) most, until none does; the arm at the first place stays."""
    import numpy as np

    chosen = list(start)
    ridge_RR = _RIDGE * np.eye(span_NR.shape[1])
    while True:
        own_AR = span_NR[chosen]
        inverse_RR = np.linalg.inv(own_AR.T @ own_AR + ridge_RR)
        cross_AN = own_AR @ inverse_RR @ span_NR.T
        gain_N = np.einsum("nr,rs,ns->n", span_NR, inverse_RR, span_NR)
        ratio_AN = (1 + gain_N)[None, :] * (1 - gain_N[chosen])[:, None] + cross_AN**2
        ratio_AN[:, chosen] = 0.0  # an arm is run once; seeds are its replicates
        ratio_AN[0] = 0.0
        place, candidate = divmod(int(np.argmax(np.round(ratio_AN, 9))), len(span_NR))
        if ratio_AN[place, candidate] <= 1 + 1e-6:
            return sorted(chosen)
        chosen[place] = candidate


def _criteria(own_AR: np.ndarray, basis_CR: np.ndarray) -> tuple[float, float]:
    """Minus log det(X'X), and for choices that tie the summed variance of all effects; the smaller the better."""
    import numpy as np

    information_RR = own_AR.T @ own_AR
    sign, value = np.linalg.slogdet(information_RR)
    if sign <= 0 or not value > -30:
        return math.inf, math.inf
    variance_C = np.einsum("cr,rs,cs->c", basis_CR, np.linalg.inv(information_RR), basis_CR)
    return round(-float(value), 6), round(float(variance_C[1:].sum()), 6)  # the first is the constant: no effect


def _textbook(
    axes: model.Axes, valid: Sequence[Levels], terms: Sequence[str], wanted: int
) -> tuple[list[Levels], str, list[str]] | None:
    """The regular fraction that holds the default, or None where there is none of this size for this model."""
    factors = model.varied(axes)
    erased = len(factors) - wanted.bit_length() + 1
    from pydoe import fracfact_aliasing

    signs_AC = _regular(len(factors), erased)
    if signs_AC is None:
        return None
    default = valid[0]  # stands where the first row does: of the fractions of one family, the one that holds it
    rows = {tuple(bool(sign == first) for sign, first in zip(row, signs_AC[0], strict=True)) for row in signs_AC}
    chosen = [levels for levels in valid if tuple(levels[axis] == default[axis] for axis in factors) in rows]
    if model.not_estimable(axes, chosen, terms):
        return None
    names = dict(zip("abcdefghijklmnopqrstuvwxyz", factors, strict=False))
    chains = [[_word(word, names) for word in chain.split(" = ")] for chain in fracfact_aliasing(signs_AC)[0]]
    shortest = min(
        (len(first.split("*")) + len(second.split("*")) for chain in chains for first, second in _pairs(chain)),
        default=len(factors),
    )
    method = f"textbook 2^({len(factors)}-{erased}), resolution {_ROMAN.get(shortest, str(shortest))}"
    return chosen, method, [" = ".join(chain) for chain in chains]


def _regular(factors: int, erased: int) -> np.ndarray | None:
    """Signs of the best regular fraction; None where so few arms alias main effects with each other."""
    from pydoe import fracfact, fracfact_by_res, fracfact_opt

    for resolution in (5, 4):
        if resolution <= factors and len(signs_AC := fracfact_by_res(factors, resolution)) == 2 ** (factors - erased):
            return signs_AC
    try:
        return fracfact(fracfact_opt(factors, erased, max_attempts=_TRIED)[0])
    except ValueError:
        return None


_ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}


def _pairs(chain: Sequence[str]) -> list[tuple[str, str]]:
    return [(chain[i], chain[j]) for i in range(len(chain)) for j in range(i + 1, len(chain))]


def _word(word: str, names: Mapping[str, str]) -> str:
    return "*".join(names[letter] for letter in word.strip())
