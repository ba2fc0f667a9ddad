"""Read a study's records into one frame, typed and sorted, whatever files and rows they came in; refuse what is wrong.

The order of rows, the number of files and their names change nothing: rows are sorted by `KEY`, names are categories in
the order of their letters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.errors import LavitError, did_you_mean
from reports.study import Study

REQUIRED = (
    "study",
    "arm",
    "seed",
    "benchmark",
    "split",
    "example_id",
    "cluster_id",
    "prediction",
    "reference",
    "score",
)
OPTIONAL: dict[str, Any] = {"metric": "score", "control": "", "kind": "", "prompt": "", "aux": "{}", "tokens": None}
GROUP = ("benchmark", "metric", "control", "split")
KEY = (*GROUP, "arm", "seed", "example_id")
NAMES = ("study", *GROUP, "arm", "example_id", "cluster_id", "kind")
TEXTS = {"prompt": "", "prediction": "", "reference": "[]", "aux": "{}"}  # and what stands for one that is missing
COLUMNS = ("study", *KEY, "cluster_id", "kind", "prompt", "prediction", "reference", "score", "aux", "tokens")
Files = dict[tuple[str, int], Path]


def read_records(folder: Path, study: Study) -> tuple[pd.DataFrame, Files]:
    """(every record of `folder/records/*.parquet`, arm and seed -> the file that its records came from).

    Names are categorical columns, texts are text, `score` and `tokens` are 64-bit floats.

    Raises:
        LavitError: see `reports.frame.load`.
    """
    paths = sorted((folder / "records").glob("*.parquet"))
    if not paths:
        raise LavitError(
            f"no records in {folder / 'records'}",
            "run the study first (lavit run study=...), or put one Parquet file per arm and seed there",
        )
    tables = []
    for i, path in enumerate(paths):
        table = _read_one(path)
        _check_names(table, study, path)
        tables.append(table.append_column("file", pa.array(np.full(table.num_rows, i, np.int32))))
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if not whole.num_rows:
        raise LavitError(f"the records in {folder / 'records'} hold no row", "evaluate at least the default arm")
    del tables
    return _sorted(whole, study, paths)


def _read_one(path: Path) -> pa.Table:
    """A file's records in the columns and types of all others."""
    try:
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            missing = [column for column in REQUIRED if column not in present]
            if missing:
                raise LavitError(
                    f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                    f"records need: {', '.join(REQUIRED)}",
                )
            table = file.read(columns=[column for column in COLUMNS if column in present])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise LavitError(f"{path} is not a readable Parquet file: {error}", "evaluate this run again") from error
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        column = table[name] if name in present else pa.nulls(table.num_rows)
        try:
            columns[name] = _convert(name, column)
        except (ValueError, TypeError, pa.ArrowException) as error:
            what = "names" if name in NAMES else "texts" if name in TEXTS else "numbers"
            raise LavitError(f"{path}: the column '{name}' ({column.type}) must hold {what}: {error}") from error
    return pa.table(columns)


def _convert(name: str, column: Any) -> Any:
    if name in TEXTS:
        return _text(column).fill_null(TEXTS[name])
    if name in ("score", "tokens"):
        return column.cast(pa.float64()).fill_null(np.nan)
    if name in REQUIRED and column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} are missing")
    if name == "seed":
        return column.cast(pa.int64())
    return column.cast(pa.large_string()).fill_null(OPTIONAL.get(name, "")).dictionary_encode()


def _text(column: Any) -> Any:
    """Lists and mappings (references, parts) as JSON, anything else as it prints."""
    if pa.types.is_nested(column.type):
        values = (None if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist())
        return pa.array(values, pa.large_string())
    return column.cast(pa.large_string())


def _check_names(table: pa.Table, study: Study, path: Path) -> None:
    for arm in table["arm"].unique().to_pylist():
        if arm not in study.arms:
            raise LavitError(f"{path} holds records of the arm '{arm}'", did_you_mean(arm, study.arms))
    for name in table["study"].unique().to_pylist():
        if name != study.name:
            raise LavitError(
                f"{path} holds records of the study '{name}', the study file says '{study.name}'",
                "keep one study in one folder",
            )


def _sorted(table: pa.Table, study: Study, paths: list[Path]) -> tuple[pd.DataFrame, Files]:
    """The table as a frame in the order of `KEY` (arms in the study's order), checked."""
    columns: dict[str, Any] = {name: _categories(table[name]) for name in NAMES}
    columns["seed"] = table["seed"].to_numpy()
    keys = {name: columns[name].codes if name != "seed" else columns[name] for name in (*KEY, "cluster_id")}
    place = {arm: i for i, arm in enumerate(study.arms)}
    keys["arm"] = np.array([place[arm] for arm in columns["arm"].categories])[keys["arm"]]
    order = np.lexsort([keys[name] for name in reversed(KEY)])
    keys = {name: codes[order] for name, codes in keys.items()}
    for name in NAMES:
        columns[name] = columns[name].take(order)
    columns["seed"] = keys["seed"]
    for name in ("score", "tokens"):
        columns[name] = table[name].to_numpy()[order]
    texts = table.select(list(TEXTS)).take(pa.array(order)).to_pandas()
    records = pd.DataFrame({c: texts[c] if c in TEXTS else columns[c] for c in COLUMNS}, copy=False)
    runs = pd.DataFrame({"arm": keys["arm"], "seed": keys["seed"], "file": table["file"].to_numpy()[order]})
    arms = list(study.arms)
    found = runs.drop_duplicates().sort_values(["arm", "seed", "file"]).itertuples(index=False)
    files = {(arms[row.arm], int(row.seed)): paths[row.file] for row in found}
    _check_rows(records, keys)
    _check_examples(records, keys, study.default)
    return records, files


def _categories(column: Any) -> pd.Categorical:
    """A dictionary column as categories in the order of their letters."""
    whole = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    values = np.array(whole.dictionary.to_pylist(), dtype=object)
    order = np.argsort(values, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return pd.Categorical.from_codes(place[whole.indices.to_numpy()], pd.Index(values[order], dtype=object))


def _changes(keys: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Where each run of equal keys starts."""
    differs = np.zeros(len(keys["seed"]) - 1, bool)
    for name in names:
        differs |= keys[name][1:] != keys[name][:-1]
    return np.flatnonzero(np.r_[True, differs])


def _check_rows(records: pd.DataFrame, keys: dict[str, np.ndarray]) -> None:
    bad = ~np.isfinite(records["score"].to_numpy())
    if bad.any():
        first = records.iloc[int(bad.argmax())]
        raise LavitError(
            f"{int(bad.sum())} score{'s are' if bad.sum() > 1 else ' is'} not finite, first: arm '{first['arm']}', "
            f"seed {first['seed']}, {first['benchmark']}, example '{first['example_id']}'",
            "score a missing answer 0, or leave the example out of every arm",
        )
    unique = _changes(keys, KEY)
    if len(unique) < len(records):
        twice = np.ones(len(records), bool)
        twice[unique] = False
        first = records.iloc[int(twice.argmax())]
        raise LavitError(
            f"{int(twice.sum())} record(s) occur twice, first: arm '{first['arm']}', seed {first['seed']}, "
            f"{first['benchmark']}, control '{first['control']}', split '{first['split']}', example "
            f"'{first['example_id']}'",
            "an example is scored once per arm, seed, benchmark and control: delete the stale file",
        )


def _check_examples(records: pd.DataFrame, keys: dict[str, np.ndarray], default: str) -> None:
    """Paired comparisons need the same examples in every run; name the first arm that differs.

    Within a group, runs and their examples are sorted, the default arm's first.
    """
    run_starts = _changes(keys, (*GROUP, "arm", "seed"))
    group_starts = _changes(keys, GROUP)
    ends = np.r_[group_starts[1:], len(records)]
    example, cluster = keys["example_id"], keys["cluster_id"]
    for start, end in zip(group_starts, ends, strict=True):
        starts = run_starts[(run_starts >= start) & (run_starts < end)]
        sizes = np.diff(np.r_[starts, end])
        base = example[start : start + sizes[0]]
        for own_start, size in zip(starts, sizes, strict=True):
            own = example[own_start : own_start + size]
            if size != sizes[0] or not np.array_equal(own, base):
                raise _unequal(records, start, own_start, base, own)
            odd = cluster[own_start : own_start + size] != cluster[start : start + size]
            if odd.any():
                row = records.iloc[int(own_start + odd.argmax())]
                raise LavitError(
                    f"example '{row['example_id']}' of {row['benchmark']} belongs to several clusters: "
                    f"'{records['cluster_id'].iloc[int(start + odd.argmax())]}', and '{row['cluster_id']}' in arm "
                    f"'{row['arm']}' seed {row['seed']}",
                    "cluster_id (the image) must be the same in every arm and seed",
                )


def _unequal(records: pd.DataFrame, start: int, own_start: int, base: np.ndarray, own: np.ndarray) -> LavitError:
    first, row = records.iloc[int(start)], records.iloc[int(own_start)]
    odd = np.setxor1d(own, base)[0]
    name = records["example_id"].cat.categories[odd]
    side = "lacks" if odd in base else "has, alone,"
    control = f" ({row['control']})" if row["control"] else ""
    where = f"{row['benchmark']}{control}, split '{row['split']}'"
    return LavitError(
        f"arms were not scored on the same examples of {where}: '{first['arm']}' seed {first['seed']} has "
        f"{len(base)}, '{row['arm']}' seed {row['seed']} has {len(own)} and {side} '{name}'",
        "evaluate these runs again with one suite; nothing is dropped silently",
    )
