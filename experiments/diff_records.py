"""The part of a comparison that comes from records: each measure's difference with its test, and what flipped.

Two arms of one study are tested as its report tests them, with the variance between seeds estimated from all arms.
Arms of two studies, and single runs, are tested on what they share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from experiments.diff import ArmDiff, Side
    from reports.measure import Cube, Scores

ID = ["benchmark", "metric", "split", "example_id"]


def compare_records(found: ArmDiff, shown: int) -> None:
    """Fill in ``metrics`` and ``examples``; where a side has no records, say so in ``notes``."""
    from reports.measure import Measure

    a, b = _records(found.a), _records(found.b)
    for side, records in ((found.a, a), (found.b, b)):
        if records is None:
            found.notes.append(f"{side.name} has no records yet, so no metric is compared")
    if a is None or b is None:
        return
    pairs = _paired(a, b, single=found.a.seed is not None or found.b.seed is not None)
    if not len(pairs):
        found.notes.append("the two were scored on no common example at a common seed")
        return
    scores = _study_scores(found)
    for (benchmark, metric, split), rows in pairs.groupby(["benchmark", "metric", "split"], sort=False):
        label = f"{benchmark}/{metric}" + (f" ({split})" if split != "test" else "")
        cube = scores.cube(Measure(benchmark, metric, split)) if scores is not None else None
        found.metrics.append({"measure": label, **_contrast(found, rows, cube)})
        found.examples.append({"measure": label, **_flipped(rows, shown)})


def _records(side: Side) -> pandas.DataFrame | None:
    """The scored examples of a side without controls; None where there are none."""
    import pandas

    parts = []
    for path in sorted((side.folder / "records").glob("*.parquet")):
        part = pandas.read_parquet(path)
        parts.append(part[(part["arm"] == side.arm) & part["seed"].isin(list(side.runs)) & (part["control"] == "")])
    whole = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
    return whole if len(whole) else None


def _paired(a: pandas.DataFrame, b: pandas.DataFrame, single: bool) -> pandas.DataFrame:
    """One row per example that both have: scores and texts of A and B beside each other, by seed unless single."""
    keep = ["seed", *ID, "cluster_id", "prediction", "reference", "score"]
    on = ID if single else ["seed", *ID]
    rows = a[keep].merge(b[keep], on=on, suffixes=("_a", "_b"))
    if single:
        rows["seed"] = 0
    else:
        rows["seed_a"] = rows["seed_b"] = rows["seed"]
    return rows


def _contrast(found: ArmDiff, rows: pandas.DataFrame, cube: Cube | None) -> dict[str, Any]:
    """The test, on the study's own array where there is one, else on what the two share."""
    from reports.contrast import contrast

    names = found.a.arm, found.b.arm
    if cube is None:
        cube, names = _pair_cube(rows), ("A", "B")
    result = contrast(cube, {names[1]: 1.0, names[0]: -1.0}) if names[0] != names[1] else None
    if result is None:
        return _nothing()
    numbers = {name: _finite(getattr(result, name)) for name in ("estimate", "low", "high", "p", "df")}
    means = {side: _mean(cube, name) for side, name in zip(("a", "b"), names, strict=True)}
    return {**means, **numbers, "seeds": result.n_seeds, "scope": result.scope, "reason": result.reason}


def _nothing() -> dict[str, Any]:
    names = ("a", "b", "low", "high", "p", "df")
    same = {"estimate": 0.0, "seeds": 0, "scope": "none", "reason": "one and the same arm"}
    return dict.fromkeys(names, None) | same


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(cube: Cube, name: str) -> float | None:
    means = cube.run_means(name).values()
    return sum(means) / len(means) if means else None


def _study_scores(found: ArmDiff) -> Scores | None:
    """All scores of the study, as its report has them, where both sides are whole arms of it."""
    if found.a.folder != found.b.folder or found.a.seed is not None or found.b.seed is not None:
        return None
    from reports.frame import load
    from reports.measure import Scores

    return Scores(load(found.a.folder, one_rule=False))  # the two may well differ: that is told


def _pair_cube(rows: pandas.DataFrame) -> Cube:
    """Both sides on what they share: the seeds and examples that are there for each."""
    import numpy as np

    from reports.measure import build_cube

    tables = [rows.pivot_table(index="seed", columns="example_id", values=f"score_{side}") for side in ("a", "b")]
    complete = tables[0].columns[tables[0].notna().all() & tables[1].notna().all()]
    scores_ASE = np.stack([table[complete].to_numpy(float) for table in tables])
    clusters = rows.drop_duplicates("example_id").set_index("example_id")["cluster_id_a"].loc[complete]
    _, cluster_E = np.unique(clusters.to_numpy(str), return_inverse=True)
    return build_cube(scores_ASE, cluster_E, ("A", "B"), tuple(int(seed) for seed in tables[0].index))


def _flipped(rows: pandas.DataFrame, shown: int) -> dict[str, Any]:
    """How many examples became better or worse, and those that changed most, better and worse in turn."""
    change = rows["score_b"] - rows["score_a"]
    order = change.sort_values(kind="stable").index
    worst = [index for index in order[:shown] if change[index] < 0]
    best = [index for index in order[::-1][:shown] if change[index] > 0]
    chosen = [index for pair in _alternate(worst, best) for index in pair][:shown]
    names = {"prediction_a", "prediction_b", "seed_a", "seed_b", "score_a", "score_b"}
    examples = []
    for index in chosen:
        row = rows.loc[index]
        texts = {name: row[name].item() if hasattr(row[name], "item") else row[name] for name in sorted(names)}
        examples.append({"example_id": row["example_id"], "reference": row["reference_a"], **texts})
    return {
        "better": int((change > 0).sum()),
        "worse": int((change < 0).sum()),
        "equal": int((change == 0).sum()),
        "shown": examples,
    }


def _alternate(first: list[Any], second: list[Any]) -> list[list[Any]]:
    longest = max(len(first), len(second))
    return [[*first[index : index + 1], *second[index : index + 1]] for index in range(longest)]
