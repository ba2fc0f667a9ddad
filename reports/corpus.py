"""Corpus metrics from records: sums that examples carry in `aux` ({"sums": {"BLEU": [...]}}), and what is made of them.

Shape letters: A arms, S seeds, E examples, C clusters (images), K sums that a metric is made of, N records.
"""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd

from experiments.errors import LavitError
from reports.cube import Cube, Measure
from reports.resample import Floats, Statistic, corpus_bleu, pseudo_values

LONGEST = 4  # of the n-grams that captions are counted by


def _bleu(sums: Floats, order: int) -> Floats:
    """BLEU of n-grams up to ``order``, from sums that count those up to `LONGEST`."""
    places = [*range(order), *range(LONGEST, LONGEST + order), 2 * LONGEST, 2 * LONGEST + 1]
    return corpus_bleu(sums[..., places], order)


#: Name of the sums in `aux` -> how many numbers they are, and the metrics made of them.
SUMS: dict[str, tuple[int, dict[str, Statistic]]] = {
    "BLEU": (2 * LONGEST + 2, {f"Bleu_{n}": partial(_bleu, order=n) for n in range(LONGEST, 0, -1)}),
}


def corpus_names(aux: object) -> list[str]:
    """The corpus metrics whose sums a record's `aux` carries."""
    text = aux if isinstance(aux, str) else json.dumps(aux) if isinstance(aux, dict) else ""
    at = text.find('"sums"')
    return [name for key, (_, made) in SUMS.items() if at >= 0 and text.find(f'"{key}"', at) >= 0 for name in made]


def source(name: str) -> str:
    """The sums that a corpus metric is made of."""
    return next(key for key, (_, made) in SUMS.items() if name in made)


def statistic(name: str) -> Statistic:
    """From sums to a corpus metric."""
    return SUMS[source(name)][1][name]


def read_sums(rows: pd.DataFrame, key: str) -> Floats:
    """[N, K]: the sums of each record; NaN where it has none.

    Raises:
        LavitError: a record has another number of sums.
    """
    width = SUMS[key][0]
    cut = [_between(text, key) for text in rows["aux"]]
    held = np.array([part != "" for part in cut], bool)
    numbers = np.fromstring(",".join(part for part in cut if part), sep=",") if held.any() else np.empty(0)
    counts = np.array([part.count(",") + 1 for part in cut if part])
    if len(numbers) != width * int(held.sum()) or (counts != width).any():
        first = rows.iloc[int(np.flatnonzero(held)[int(np.argmax(counts != width))])]
        raise LavitError(
            f"aux of {first['benchmark']}, arm '{first['arm']}', seed {first['seed']}, example '{first['example_id']}'"
            f": sums.{key} are no {width} numbers",
            "evaluate this run again; what the numbers are is in docs/reports.md",
        )
    sums_NK = np.full((len(rows), width), np.nan)
    sums_NK[held] = numbers.reshape(-1, width)
    return sums_NK


def _between(aux: object, key: str) -> str:
    """The numbers of one `aux` cell as they are written, without their brackets (reading all as JSON is slow)."""
    text = aux if isinstance(aux, str) else json.dumps(aux) if isinstance(aux, dict) else ""
    at = text.find('"sums"')
    at = text.find(f'"{key}"', at) if at >= 0 else -1
    start = text.find("[", at) if at >= 0 else -1
    return text[start + 1 : text.find("]", start)].strip() if start >= 0 else ""


def cluster_sums(rows: pd.DataFrame, key: str, arms: tuple[str, ...], seeds: tuple[int, ...]) -> tuple[Floats, int]:
    """([A, S, C, K], examples): each run's sums of each cluster; a run of which an example lacks them is NaN."""
    sums_NK = read_sums(rows, key)
    arm_N = pd.Categorical(rows["arm"], categories=list(arms)).codes
    seed_N = np.searchsorted(np.array(seeds), rows["seed"].to_numpy())
    cluster_N, names = pd.factorize(rows["cluster_id"], sort=True)
    place_N = (arm_N.astype(np.int64) * len(seeds) + seed_N) * len(names) + cluster_N
    cells = len(arms) * len(seeds) * len(names)
    shape = (len(arms), len(seeds), len(names))
    sums_ASCK: Floats = np.stack(
        [np.bincount(place_N, column, cells).reshape(shape).astype(float) for column in sums_NK.T], axis=-1
    )
    sums_ASCK[np.bincount(place_N, minlength=cells).reshape(shape) == 0] = np.nan
    whole_AS = np.isfinite(sums_ASCK).all(axis=(2, 3))
    sums_ASCK[~whole_AS] = np.nan
    return sums_ASCK, int(rows["example_id"].nunique())


def corpus_cube(
    measure: Measure, sums_ASCK: Floats, examples: int, arms: tuple[str, ...], seeds: tuple[int, ...]
) -> Cube:
    """A corpus metric as scores: jackknife pseudo-values, moved so that each run's mean is the metric itself.

    What the move takes away is the jackknife's correction for a bias of order 1/C, so that a difference is the
    difference of the numbers that the tables print; the spread over clusters stays.
    """
    made = statistic(measure.name)
    whole_AS = np.where(np.isfinite(sums_ASCK).all(axis=(2, 3)), made(sums_ASCK.sum(axis=2)), np.nan)
    if sums_ASCK.shape[2] < 2:
        return Cube(arms, seeds, whole_AS[..., None], examples)
    values_ASC = np.stack([pseudo_values(one[None], made)[0] for one in sums_ASCK])
    values_ASC += (whole_AS - values_ASC.mean(axis=2))[..., None]
    return Cube(arms, seeds, values_ASC, examples)
