"""Records from anywhere: every valid set gives every documented field, every corrupt one is refused by name."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import record_sets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reports
from experiments.errors import LavitError
from reports.document import make_document
from reports.findings import find
from reports.records import OPTIONAL, REQUIRED

DOCS = Path(__file__).parents[2] / "docs" / "reports.md"

TEXTS = ("kind", "benchmark", "metric", "against", "verdict")
NUMBERS = ("estimate", "low", "high", "se", "df", "p", "p_adjusted")
COUNTS = ("n_seeds", "n_examples")
VERDICTS = {"helps", "hurts", "interact", "equivalent", "no evidence", "one seed", "not estimable"}
SAFE = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def contrasts(folder):
    """`contrasts` as report.json holds them, without the figures and the page."""
    results = reports.analyse(reports.load(folder))
    document = make_document(results, find(results), [])
    return json.loads(json.dumps(document, allow_nan=False))["contrasts"]


def check_fields(entries):
    for entry in entries:
        assert entry["kind"] in ("arm", "main_effect", "interaction")
        assert all(isinstance(entry[name], str) and entry[name] for name in TEXTS), entry
        assert isinstance(entry["arm" if entry["kind"] == "arm" else "axis"], str)
        assert entry["verdict"] in VERDICTS
        assert all(isinstance(entry[name], int) for name in COUNTS)
        known = {name: entry[name] for name in NUMBERS if entry[name] is not None}
        assert all(isinstance(value, float) and math.isfinite(value) for value in known.values())
        if entry["verdict"] == "not estimable":
            assert entry["reason"]
            continue
        assert known.keys() >= {"estimate", "low", "high", "se", "p", "p_adjusted"}
        assert known["low"] <= known["estimate"] <= known["high"]
        assert 0 <= known["p"] <= known["p_adjusted"] <= 1
        if entry["verdict"] in ("helps", "hurts"):
            assert known["p_adjusted"] <= 0.05
            assert (known["estimate"] > 0) == (entry["verdict"] == "helps")
        assert (entry["n_seeds"] == 1) == (entry["verdict"] == "one seed")


LEVELS = st.sampled_from([["off", "on"], [False, True], [1, 2], [0.5, 1.0], ["a", "b", "c"]])


@st.composite
def record_set(draw):
    """(records, keys of study.yaml, number of files) of a valid study of any shape."""
    axes = {f"axis{i}": draw(LEVELS) for i in range(draw(st.integers(1, 3)))}
    first = {axis: levels[0] for axis, levels in axes.items()}
    arms = {"base": first}
    for axis, levels in axes.items():
        arms |= {f"{axis}={level}": first | {axis: level} for level in levels[1:]}
    if draw(st.booleans()):
        last = list(arms)[-1]
        arms[last] = {axis: level for axis, level in arms[last].items() if level != first[axis]}
    most = draw(st.integers(1, 3))
    start = draw(st.sampled_from([0, 1, 41]))
    seeds = {arm: range(start, start + draw(st.integers(1, most))) for arm in arms}
    rows = record_sets.rows(
        seeds,
        benchmarks=draw(st.sampled_from([("vqa",), ("vqa", "caption")])),
        splits=draw(st.sampled_from([("test",), ("val", "test"), ("dev",)])),
        examples=draw(st.integers(1, 9)),
        per_cluster=draw(st.integers(1, 3)),
        effect=draw(st.sampled_from([0.0, 0.3, 5.0])),
        binary=draw(st.booleans()),
    )
    form = draw(st.sampled_from(["plain", "category", "arrow", "nullable", "integer", "lists", "metric"]))
    if form == "category":
        rows = rows.astype(dict.fromkeys(("arm", "benchmark", "split", "example_id"), "category"))
    elif form == "arrow":
        rows = rows.astype(dict.fromkeys(("arm", "prediction", "reference"), "string[pyarrow]"))
    elif form == "nullable":
        rows = rows.astype({"seed": "Int16", "score": "Float32"})
    elif form == "integer":
        rows["score"] = (rows["score"] > 0).astype("int8")
        rows["example_id"] = rows["example_id"].str.rpartition("-")[2].astype("int64")
    elif form == "lists":
        rows["prediction"], rows["reference"] = [["red"]] * len(rows), [["red", "crimson"]] * len(rows)
    document = {"axes": axes, "arms": arms, "default": "base"}
    headline = draw(st.sampled_from(["vqa/score", "vqa", "caption/score"]))
    if form == "metric":
        rows["metric"], headline = "accuracy", "vqa/accuracy"
    document["headline"] = headline
    if draw(st.booleans()):
        document |= {"margin": draw(st.sampled_from([0.05, 1, 50.0])), "family": list(arms)[1:2]}
    return rows.sample(frac=1, random_state=0), document, draw(st.integers(1, 4))


@SAFE
@given(record_set())
def test_any_valid_record_set_gives_every_documented_field(made):
    rows, document, files = made
    with tempfile.TemporaryDirectory() as name:
        entries = contrasts(record_sets.write(Path(name), rows, document, files))
    check_fields(entries)
    arms = {entry["arm"] for entry in entries if entry["kind"] == "arm"}
    assert arms == set(document["arms"]) - {"base"}
    assert {entry["benchmark"] for entry in entries} == set(rows["benchmark"])
    assert all(entry["metric"] == ("accuracy" if "metric" in rows else "score") for entry in entries)


SEEDS = {"base": (0, 1, 2), "other": (0, 1, 2)}
BASE = record_sets.rows(SEEDS)


def plus(column, value):
    """The records with one cell changed."""
    changed = BASE.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[len(changed) - 1, column] = value
    return changed if column in ("arm", "study", "example_id", "cluster_id") else changed.astype({column: "float64"})


#: What is wrong -> (the records, what the refusal must name).
CORRUPT = {
    "a column less": (BASE.drop(columns=["score"]), "part-0.parquet lacks the column score"),
    "two columns less": (BASE.drop(columns=["arm", "split"]), "lacks the columns arm, split"),
    "rows twice": (pd.concat([BASE, BASE.iloc[5:6]]), "arm 'base', seed 0, vqa"),
    "a score that is no number": (plus("score", math.nan), "arm 'other', seed 2, vqa, example 'vqa-11'"),
    "an infinite score": (plus("score", math.inf), "example 'vqa-11'"),
    "words for scores": (BASE.assign(score="good"), "part-0.parquet: the column 'score'"),
    "half a seed": (BASE.assign(seed=BASE["seed"] + 0.5), "part-0.parquet: the column 'seed'"),
    "an arm of another study": (plus("arm", "othre"), "part-0.parquet holds records of the arm 'othre'"),
    "another study": (BASE.assign(study="theirs"), "holds records of the study 'theirs'"),
    "an example less": (BASE.iloc[:-1], "'other' seed 2 has 11 and lacks 'vqa-11'"),
    "other examples": (plus("example_id", "vqa-99"), "'other' seed 2 has 12 and"),
    "a missing name": (plus("example_id", None), "part-0.parquet: the column 'example_id'"),
    "no cluster": (BASE.assign(cluster_id=None), "part-0.parquet: the column 'cluster_id'"),
    "two clusters": (plus("cluster_id", "image-0"), "example 'vqa-11' of vqa belongs to several clusters"),
    "no row": (BASE.iloc[:0], "hold no row"),
}


@pytest.mark.parametrize("what", CORRUPT)
def test_corrupt_records_are_refused_by_name(what, tmp_path):
    rows, told = CORRUPT[what]
    record_sets.write(tmp_path, BASE, {"name": "foreign"})
    rows.to_parquet(tmp_path / "records" / "part-0.parquet", index=False)
    with pytest.raises(LavitError) as refused:
        reports.load(tmp_path)
    assert told in str(refused.value)


#: What is wrong with study.yaml -> (its keys, what the refusal must name).
SLIPS = {
    "default": ({"default": "basis"}, "the default 'basis' is no arm"),
    "headline": ({"headline": None}, "lacks the key 'headline'"),
    "levels": ({"arms": {"base": {"recipe": "bse"}, "other": {"recipe": "other"}}}, "arm 'base' takes recipe=bse"),
    "axis": ({"arms": {"base": {"recpie": "base"}, "other": {}}}, "arm 'base' names the axis 'recpie'"),
    "arms": ({"arms": ["base", "other"]}, "'arms' must map"),
    "levels of an arm": ({"arms": {"base": None, "other": ["other"]}}, "arm 'other' is"),
    "axes": ({"axes": ["recipe"]}, "'axes' must be a mapping"),
    "no levels": ({"axes": {"recipe": []}}, "axis 'recipe' has no levels"),
    "family": ({"family": ["othre"]}, "family names 'othre'"),
    "one name for a family": ({"family": "other"}, "'family' must be a list"),
    "margin": ({"margin": "wide"}, "margin is 'wide'"),
    "seeds": ({"seeds": [0, "one"]}, "'seeds' is"),
    "void": ({"void": [{"recipe": "other"}]}, "'void' has the entry"),
}


@pytest.mark.parametrize("what", SLIPS)
def test_a_slip_in_the_study_file_is_refused_by_name(what, tmp_path):
    document, told = SLIPS[what]
    record_sets.write(tmp_path, BASE, document)
    with pytest.raises(LavitError) as refused:
        reports.load(tmp_path)
    assert told in str(refused.value)
    assert "study.yaml" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00" * 64, b"score\n1\n"])
def test_a_file_that_is_no_parquet_is_named(content, tmp_path):
    record_sets.write(tmp_path, BASE, {"name": "foreign"})
    (tmp_path / "records" / "part-0.parquet").write_bytes(content)
    with pytest.raises(LavitError, match=r"part-0\.parquet is not a readable Parquet file"):
        reports.load(tmp_path)


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b"", b"name: x\nname: {"])
def test_a_study_file_that_is_no_mapping_is_named(content, tmp_path):
    record_sets.write(tmp_path, BASE, {"name": "foreign"})
    (tmp_path / "study.yaml").write_bytes(content)
    with pytest.raises(LavitError, match=r"study\.yaml"):
        reports.load(tmp_path)


@SAFE
@given(st.integers(0, 400), st.binary(max_size=40))
def test_a_torn_file_is_refused_or_still_whole(place, junk):
    with tempfile.TemporaryDirectory() as name:
        folder = record_sets.write(Path(name), BASE, {"name": "foreign"})
        path = folder / "records" / "part-0.parquet"
        whole = path.read_bytes()
        place = place * len(whole) // 400
        path.write_bytes(whole[:place] + junk)
        if path.read_bytes() != whole:
            with pytest.raises(LavitError, match=r"part-0\.parquet"):
                reports.load(folder)


def test_the_documented_study_file_is_one(tmp_path):
    section = DOCS.read_text(encoding="utf-8").partition("## Records from anywhere")[2].partition("\n## ")[0]
    text = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]
    rows = record_sets.rows(dict.fromkeys(("default", "frozen", "more"), (0, 1)), study="freezing")
    record_sets.write(tmp_path, rows)
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    entries = contrasts(tmp_path)
    check_fields(entries)
    assert [entry["arm"] for entry in entries if entry["kind"] == "arm"] == ["frozen", "more"]
    columns = set(
        re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in section.splitlines() if line[:3] == "| `"))
    )
    assert columns == {*REQUIRED, *OPTIONAL}


def shapes():
    """Studies that the corners of the statistics are tried with: name -> (records, keys, expected verdicts)."""
    two = {"base": (0, 1, 2), "other": (0, 1, 2)}
    open_verdicts = {"helps", "hurts", "no evidence"}
    return {
        "one seed": (record_sets.rows({"base": (0,), "other": (0,)}), {}, {"one seed"}),
        "two seeds": (record_sets.rows({"base": (0, 1), "other": (0, 1)}), {}, open_verdicts),
        "unbalanced": (record_sets.rows({"base": (0, 1, 2), "other": (0, 1)}), {}, open_verdicts),
        "no common seed": (record_sets.rows({"base": (0, 1), "other": (7, 8)}), {}, {"not estimable"}),
        "one example": (record_sets.rows(two, examples=1), {}, open_verdicts),
        "one image": (record_sets.rows(two, examples=6, per_cluster=6), {}, open_verdicts),
        "all alike": (record_sets.rows(two).assign(score=1.0), {}, {"no evidence"}),
        "plain": (record_sets.rows(two, effect=9.0), {}, {"helps"}),
        "equivalent": (record_sets.rows(two, effect=0.0, examples=60), {"margin": 5.0}, {"equivalent"}),
        "headline absent": (record_sets.rows(two), {"headline": "caption/CIDEr"}, open_verdicts),
    }


@pytest.mark.parametrize("shape", shapes())
def test_a_study_of_any_shape_has_sensible_verdicts(shape, tmp_path):
    rows, document, verdicts = shapes()[shape]
    entries = contrasts(record_sets.write(tmp_path, rows, document))
    check_fields(entries)
    assert {entry["verdict"] for entry in entries if entry["kind"] == "arm"} <= verdicts
    common = set(rows[rows["arm"] == "base"]["seed"]) & set(rows[rows["arm"] == "other"]["seed"])
    assert {entry["n_seeds"] for entry in entries} == {len(common)}


def test_the_smallest_study_gives_a_whole_report_by_the_command_line(tmp_path, capsys):
    from experiments.cli import main

    rows, document, _ = shapes()["headline absent"]
    folder = record_sets.write(tmp_path / "in", rows, document)
    before = sorted(folder.rglob("*"))
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "Nothing was scored on the headline caption/CIDEr" in capsys.readouterr().out
    assert sorted(folder.rglob("*")) == before, "what was given is read only"
    check_fields(json.loads((tmp_path / "out" / "report.json").read_text())["contrasts"])
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    shutil.rmtree(folder / "records")
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert f"no records in {folder / 'records'}" in capsys.readouterr().err


def test_the_order_of_rows_and_files_changes_no_number(tmp_path):
    rows = record_sets.rows({"base": (0, 1, 2), "other": (0, 1, 2)}, examples=20, per_cluster=2)
    document = {
        "axes": {"recipe": ["base", "other"]},
        "arms": {"base": {"recipe": "base"}, "other": {"recipe": "other"}},
    }
    first = contrasts(record_sets.write(tmp_path / "a", rows, document | {"default": "base"}))
    shuffled = rows.iloc[np.random.default_rng(1).permutation(len(rows))]
    second = contrasts(record_sets.write(tmp_path / "b", shuffled, document | {"default": "base"}, files=3))
    assert first == second
