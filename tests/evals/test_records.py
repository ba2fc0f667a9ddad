"""The files that hold records."""

from __future__ import annotations

import dataclasses
import json
import math

import pyarrow.parquet as pq
import pytest

from evals.errors import EvaluationError
from evals.records import SCHEMA, Record, load_part, load_records, save_part, save_records

RECORD = Record(
    benchmark="vqa",
    metric="accuracy",
    control="",
    split="test",
    example_id="test-3-colour-0",
    cluster_id="test-3",
    prediction='bl"au\n',
    references=("blau", "red"),
    score=1.0,
    kind="colour",
    prompt="what colour?",
    aux={"objects": 0.5},
    tokens=3,
    order=7,
)


def test_a_part_is_read_back_as_it_was_written(tmp_path) -> None:
    unscored = dataclasses.replace(RECORD, score=math.nan, tokens=None)
    save_part(tmp_path / "part.parquet", [RECORD, unscored])
    first, second = load_part(tmp_path / "part.parquet")
    assert first == RECORD
    assert math.isnan(second.score)
    assert second.tokens is None


def test_what_is_no_number_stands_beside_the_numbers_and_comes_back(tmp_path) -> None:
    record = dataclasses.replace(RECORD, facts={"kept_at": "0110", "sums": {"BLEU": [1, 0, 2, 3]}}, order=0)
    save_records(tmp_path / "records.parquet", [record])
    assert json.loads(pq.read_table(tmp_path / "records.parquet").to_pylist()[0]["aux"]) == {
        "objects": 0.5,
        "kept_at": "0110",
        "sums": {"BLEU": [1, 0, 2, 3]},
    }
    assert load_records(tmp_path / "records.parquet") == [record]


def test_the_merged_file_has_the_documented_columns(tmp_path) -> None:
    path = tmp_path / "records.parquet"
    save_records(path, [RECORD])
    assert pq.read_schema(path).names == SCHEMA.names
    row = pq.read_table(path).to_pylist()[0]
    assert row["reference"] == '["blau", "red"]'
    assert row["aux"] == '{"objects": 0.5}'
    assert load_records(path) == [dataclasses.replace(RECORD, order=0)]


def test_the_same_example_twice_is_refused(tmp_path) -> None:
    with pytest.raises(EvaluationError, match=r"two records for .*test-3-colour-0"):
        save_records(tmp_path / "records.parquet", [RECORD, RECORD])


@pytest.mark.parametrize("bad", [{"score": math.nan}, {"aux": {"objects": math.inf}}])
def test_a_number_that_is_none_is_refused(tmp_path, bad) -> None:
    with pytest.raises(EvaluationError, match=r"nan|inf"):
        save_records(tmp_path / "records.parquet", [dataclasses.replace(RECORD, **bad)])
    assert not (tmp_path / "records.parquet").exists()
