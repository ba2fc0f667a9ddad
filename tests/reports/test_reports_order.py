"""A report depends on its records alone: not on rows' order, files, folders or hashes; wrong records are named."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_study import write_study

import reports
from experiments.errors import LavitError
from reports.frame import load
from reports.results import analyse


def scatter(source: Path, target: Path, seed: int, files: int) -> Path:
    """A study's folder with its records in another order and in so many files of other names."""
    rng = np.random.default_rng(seed)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("records", "report*", "tables", "figures"))
    (target / "records").mkdir()
    paths = sorted((source / "records").glob("*.parquet"))
    records = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    records = records.iloc[rng.permutation(len(records))]
    names = rng.permutation(files)
    for name, part in zip(names, np.array_split(np.arange(len(records)), files), strict=True):
        records.iloc[part].to_parquet(target / "records" / f"part-{name}.parquet", index=False)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_digests(page: bytes, folder: Path) -> bytes:
    """The page names each run's file of records by its digest; that alone tells how the records lie in files."""
    for path in (folder / "records").glob("*.parquet"):
        page = page.replace(hashlib.sha256(path.read_bytes()).hexdigest()[:12].encode(), b"")
    return page


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of few examples; read it, do not write into it."""
    return write_study(tmp_path_factory.mktemp("order") / "study", images=6, pictures=0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), files=st.integers(1, 40))
def test_records_are_the_same_in_any_order_and_any_files(
    small: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, files: int
) -> None:
    one = load(small)
    other = load(scatter(small, tmp_path_factory.mktemp("scattered") / "study", seed, files))
    pd.testing.assert_frame_equal(one.records, other.records)
    pd.testing.assert_frame_equal(one.runs, other.runs)
    assert one.slugs == other.slugs


@pytest.mark.slow
def test_a_report_is_the_same_to_the_byte_from_scattered_records_elsewhere(
    built: tuple[reports.ReportSummary, Path], study_folder: Path, tmp_path: Path
) -> None:
    folder = scatter(study_folder, tmp_path / "else where" / "köpie", seed=3, files=7)
    out = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", "import reports, sys; reports.build(sys.argv[1], sys.argv[2])", str(folder), str(out)],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "2"},
    )
    mine, other = contents(built[1]), contents(out)
    assert sorted(mine) == sorted(other)
    mine["report.html"] = without_digests(mine["report.html"], study_folder)
    other["report.html"] = without_digests(other["report.html"], folder)
    assert [name for name in mine if mine[name] != other[name]] == []


def rewrite(folder: Path, name: str, change) -> None:  # type: ignore[no-untyped-def]
    path = folder / "records" / name
    change(pd.read_parquet(path)).to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.assign(score=[np.inf, *r["score"][1:]]), r"1 score is not finite.*'llm=frozen'.*seed 1"),
        (lambda r: r.assign(score=[None, None, *r["score"][2:]]), r"2 scores are not finite"),
        (lambda r: r.assign(score=["good"] * len(r)), r"llm-frozen-s1.parquet: the column 'score'.*must hold numbers"),
        (lambda r: r.assign(seed=0.5), r"the column 'seed'.*must hold numbers"),
        (lambda r: r.assign(tokens=["many"] * len(r)), r"the column 'tokens'.*must hold numbers"),
        (lambda r: r.assign(benchmark=[None, *r["benchmark"][1:]]), r"the column 'benchmark'.*1 of .* are missing"),
        (lambda r: r.assign(cluster_id="one"), r"belongs to several clusters: 'i0', and 'one' in arm 'llm=frozen'"),
        (lambda r: pd.concat([r, r.head(1).assign(example_id="new")]), r"'llm=frozen' seed 1 .* has, alone, 'new'"),
        (lambda r: pd.concat([r, r.head(1)]), r"1 record\(s\) occur twice, first: arm 'llm=frozen', seed 1"),
    ],
)
def test_wrong_records_are_refused_by_name(small: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = Path(shutil.copytree(small, tmp_path / "study"))
    rewrite(folder, "llm-frozen-s1.parquet", change)
    with pytest.raises(LavitError, match=message):
        load(folder)


def test_types_that_can_be_read_are(small: Path, tmp_path: Path) -> None:
    """Integers for names, small floats, lists for references and mappings for parts, as other programs write them."""
    folder = Path(shutil.copytree(small, tmp_path / "study"))
    for path in (folder / "records").glob("*.parquet"):
        records = pd.read_parquet(path)
        rows = records[records["benchmark"] == "t2i"]
        if len(rows):
            rows = rows.assign(example_id=range(len(rows)), score=rows["score"].astype("float32"), seed=rows["seed"])
            rows = rows.assign(reference=[["scene", "another"]] * len(rows), aux=[{"objects": 0.5}] * len(rows))
            rows = rows[rows["control"] == ""]
            rows.astype({"seed": "int8"}).to_parquet(path, index=False)
        else:
            path.unlink()
    frame = load(folder)
    assert frame.records["score"].dtype == "float64"
    assert set(frame.records["example_id"]) <= {str(i) for i in range(20)}
    assert frame.records["reference"].iloc[0] == '["scene", "another"]'
    scores = analyse(frame).scores
    assert scores.parts(scores.primary[0]) == ["objects"]


def test_arms_may_have_other_numbers_of_seeds(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "study"))
    (folder / "records" / "llm-frozen-s1.parquet").unlink()
    results = analyse(load(folder))
    effect = results.effects.arm(results.headline, "llm=frozen")  # type: ignore[arg-type]
    assert effect is not None
    assert effect.contrast.n_seeds == 2
    assert effect.contrast.known
