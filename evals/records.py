"""The record: one row for each example and control, and the Parquet files that hold them.

A record is enough to recompute its metric without the model. Rows are appended as *parts*, one a batch, each
written whole or not at all, so that an interrupted evaluation goes on with the first batch that has none.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evals.errors import EvaluationError

SCHEMA = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("control", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("cluster_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("prediction", pa.string(), nullable=False),
        pa.field("reference", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("aux", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=True),
    ]
)
"""Columns of ``records.parquet``. ``reference`` is a JSON list of strings, ``aux`` a JSON object: numbers, and
facts that are no number."""

_PART_SCHEMA = SCHEMA.append(pa.field("order", pa.int32(), nullable=False))


@dataclass(frozen=True)
class Record:
    """What happened with one example under one control.

    Attributes:
        benchmark: name in the suite, e.g. ``caption``.
        metric: what ``score`` is, e.g. ``CIDEr``.
        control: "" for the real thing, else a control (:mod:`evals.benchmark` lists them).
        split: the corpus split it is from.
        example_id: unique within benchmark, metric and control, the same in every arm.
        cluster_id: the image; examples of one image are not independent.
        kind: the kind of question, or "".
        prompt: the question or the text to draw; "" where there is none.
        prediction: what the model said; for an image, what a judge saw in it.
        references: what is right.
        score: the primary score in stored units (CIDEr raw, accuracies 0-1); NaN until it is known, which
            must be so no longer when records are saved.
        aux: further numbers about this example.
        facts: what else a report can use, as JSON: ``sums``, the counts of which a metric of the whole set is made, and
            ``kept_at``, which patches became tokens. It stands in the column ``aux`` beside the numbers.
        tokens: visual tokens read or drawn; ``None`` where no image entered.
        order: place of the example in the evaluation; rows are sorted by it. Not saved in the merged file.
    """

    benchmark: str
    metric: str
    control: str
    split: str
    example_id: str
    cluster_id: str
    prediction: str
    references: tuple[str, ...]
    score: float = math.nan
    kind: str = ""
    prompt: str = ""
    aux: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    tokens: int | None = None
    order: int = 0

    def scored(self, score: float) -> Record:
        """The same record with its score filled in."""
        return dataclasses.replace(self, score=float(score))


def _row(record: Record) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _PART_SCHEMA.names if name != "reference"}
    row["reference"] = json.dumps(list(record.references), ensure_ascii=False)
    row["aux"] = json.dumps({name: float(value) for name, value in record.aux.items()} | dict(record.facts))
    row["score"] = float(record.score)
    return row


def _record(row: Mapping[str, Any]) -> Record:
    values = {name: value for name, value in row.items() if name != "reference"}
    values["references"] = tuple(json.loads(row["reference"]))
    beside = json.loads(row["aux"])
    values["aux"] = {name: value for name, value in beside.items() if isinstance(value, float | int)}
    values["facts"] = {name: value for name, value in beside.items() if name not in values["aux"]}
    return Record(**values)


def replace_file(path: Path, write: Any) -> None:
    """Call ``write(temporary path)`` beside ``path`` and move the result there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    write(temporary)
    os.replace(temporary, path)


def save_part(path: Path, records: Sequence[Record]) -> None:
    """Write one batch's records; scores may still be NaN."""
    table = pa.Table.from_pylist([_row(record) for record in records], schema=_PART_SCHEMA)
    replace_file(path, lambda temporary: pq.write_table(table, temporary))


def load_part(path: Path) -> list[Record]:
    """Read what :func:`save_part` wrote."""
    return [_record(row) for row in pq.read_table(path, schema=_PART_SCHEMA).to_pylist()]


def check_records(records: Iterable[Record]) -> None:
    """Refuse records that no comparison could be built on.

    Raises:
        EvaluationError: an example stands twice under one benchmark, metric and control, or a number is NaN or
            infinite.
    """
    seen: set[tuple[str, str, str, str]] = set()
    for record in records:
        key = (record.benchmark, record.metric, record.control, record.example_id)
        where = f"benchmark {key[0]!r}, metric {key[1]!r}, control {key[2]!r}, example {key[3]!r}"
        if key in seen:
            raise EvaluationError(f"two records for {where}: example ids must be unique")
        seen.add(key)
        for name, value in [("score", record.score), *record.aux.items()]:
            if not math.isfinite(value):
                raise EvaluationError(f"{name} is {value} for {where}")


def check_controls(records: Sequence[Record]) -> None:
    """Refuse a control whose examples are not some of the real ones in the very same order.

    Raises:
        EvaluationError: names benchmark, control and the first example that is out of place.
    """
    places: dict[tuple[str, str], dict[str, int]] = {}
    last: dict[tuple[str, str, str], int] = {}
    for record in records:
        if record.control == "":
            own = places.setdefault((record.benchmark, record.metric), {})
            own[record.example_id] = len(own)
    for record in records:
        own = places.get((record.benchmark, record.metric), {})
        place = own.get(record.example_id, -1)
        key = (record.benchmark, record.metric, record.control)
        if record.control and place <= last.get(key, -1):
            what = "has no real counterpart" if place < 0 else "is out of order"
            raise EvaluationError(
                f"benchmark {record.benchmark!r}, control {record.control!r}: example {record.example_id!r} {what}",
                "A control is asked about the first examples of its benchmark, in their order.",
            )
        last[key] = place


def save_records(path: Path, records: Sequence[Record], whose: Mapping[str, str | int] | None = None) -> None:
    """Check and write the merged ``records.parquet``: same records, same bytes.

    Args:
        path: the file.
        records: in the order of the file.
        whose: columns that are the same in every row, as a report on many runs needs them: ``study, arm, seed``.

    Raises:
        EvaluationError: see :func:`check_records`.
    """
    check_records(records)
    table = pa.Table.from_pylist([_row(record) for record in records], schema=_PART_SCHEMA).drop_columns("order")
    for place, (name, value) in enumerate((whose or {}).items()):
        kind = pa.int64() if isinstance(value, int) else pa.string()
        table = table.add_column(place, pa.field(name, kind, nullable=False), pa.array([value] * len(table), kind))
    replace_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def load_records(path: Path) -> list[Record]:
    """Read a merged ``records.parquet`` back, e.g. to recompute metrics without the model."""
    rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    return [_record(row | {"order": number}) for number, row in enumerate(rows)]
