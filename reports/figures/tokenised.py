"""What tokenizers made of the evaluated images: which patches they kept, and which codes they gave.

Read from the records of `tokenizer/cosine`: `prediction` holds an image's codes in reading order, and `kept_at` in
`aux` one character a patch, row by row over a square grid: 1 where the patch became a token.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from reports.frame import Frame

BENCHMARK, METRIC = "tokenizer", "cosine"
KEPT = r'"kept_at":\s*"([01]+)"'


def tokenizer_records(frame: Frame) -> pd.DataFrame:
    """The records that tell of tokens, one a run and image, with the column `kept` ("" where it is not told)."""
    rows = frame.records
    mask = (rows["benchmark"] == BENCHMARK) & (rows["metric"] == METRIC) & (rows["control"] == "")
    rows = rows.loc[mask, ["arm", "seed", "split", "example_id", "cluster_id", "prediction", "aux"]]
    if rows.empty:
        return rows.assign(kept="")
    splits = sorted(rows["split"].unique())
    rows = rows[rows["split"] == ("test" if "test" in splits else splits[0])]
    return rows.assign(kept=rows["aux"].astype(str).str.extract(KEPT, expand=False).fillna("")).drop(columns="aux")


def keep_maps(rows: pd.DataFrame) -> pd.DataFrame:
    """Only the records whose map is of a square grid."""
    lengths = rows["kept"].str.len()
    square = {n for n in lengths.unique() if n and math.isqrt(int(n)) ** 2 == n}
    return rows[lengths.isin(square)]


def same(rows: pd.DataFrame, column: str, arms: list[str]) -> list[list[str]]:
    """Arms whose `column` is equal in every seed and image, together, in the study's order.

    Arms with different seeds are compared over those that both have, and stay apart where they have none in common.
    """
    runs: dict[str, dict[int, Hashable]] = {}
    ordered = rows.sort_values("example_id", kind="stable")
    for (arm, seed), own in ordered.groupby(["arm", "seed"], sort=True):
        runs.setdefault(str(arm), {})[int(seed)] = tuple(own[column])
    groups: list[list[str]] = []
    for arm in arms:
        if arm not in runs:
            continue
        for group in groups:
            if all(_equal(runs[arm], runs[other]) for other in group):
                group.append(arm)
                break
        else:
            groups.append([arm])
    return groups


def _equal(one: Mapping[int, Hashable], other: Mapping[int, Hashable]) -> bool:
    shared = set(one) & set(other)
    return bool(shared) and all(one[seed] == other[seed] for seed in shared)


def group_name(group: list[str], names: Mapping[str, str], limit: int) -> str:
    """`default; llm=frozen; +4`: as many of a group's arms as there is room for."""
    told = names[group[0]]
    for place, arm in enumerate(group[1:], 1):
        rest = len(group) - place - 1
        longer = f"{told}; {names[arm]}"
        if len(longer) + (len(f"; +{rest}") if rest else 0) > limit:
            return f"{told}; +{rest + 1}"
        told = longer
    return told


def share_kept(own: pd.DataFrame) -> np.ndarray:
    """Share of seeds that keep each patch of one image, as a square: rows are an arm's runs."""
    flat_SN = np.array([[char == "1" for char in text] for text in own["kept"]], float)
    side = math.isqrt(flat_SN.shape[1])
    square: np.ndarray = flat_SN.mean(axis=0).reshape(side, side)
    return square
