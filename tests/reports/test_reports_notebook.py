"""`import reports` in a notebook: the frames agree with the report, and the documented example runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import AXES, write_study

import reports
from experiments.errors import LavitError

DOCS = Path(__file__).parents[2] / "docs" / "reports.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook") / "runs"
    write_study(folder / "quickstart", images=24, questions=1, pictures=1)
    return folder


@pytest.fixture(scope="module")
def frames(runs):
    return reports.frames("quickstart", runs)


def test_contrasts_are_those_of_report_json(runs, frames, tmp_path):
    reports.build(runs / "quickstart", tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())["contrasts"]
    assert len(frames.contrasts) == len(written)
    for column in ("kind", "benchmark", "metric", "against", "verdict", "n_seeds", "n_examples"):
        assert list(frames.contrasts[column]) == [entry[column] for entry in written]
    told = pd.Series([entry["estimate"] for entry in written], dtype="float64")
    assert told.equals(frames.contrasts["estimate"].astype("float64").rename(None))
    kinds = frames.contrasts["kind"].value_counts()
    assert len(frames.effects) == kinds["main_effect"]
    assert len(frames.interactions) == kinds.get("interaction", 0)


def test_a_run_is_a_row_with_its_levels(runs, frames):
    assert len(frames.runs) == 15
    assert set(AXES) <= set(frames.runs.columns)
    row = frames.runs[(frames.runs["arm"] == "llm=frozen") & (frames.runs["seed"] == 2)].iloc[0]
    assert (row["llm"], row["tokens"], row["status"]) == ("frozen", "dynamic", "done")
    assert row["commit"].startswith("0a1b2c")
    wide = frames.metrics_wide.loc[("llm=frozen", 2)]
    long = frames.metrics.set_index(["arm", "seed", "name"])["value"]
    assert wide["caption/CIDEr"] == long["llm=frozen", 2, "caption/CIDEr"]
    assert (
        list(dict.fromkeys(frames.metrics_wide.index.get_level_values("arm"))) == reports.load(runs / "quickstart").arms
    )


def test_examples_are_ranked_by_how_far_arms_lie_apart(frames):
    table = frames.examples
    assert table.columns.names == ["arm", "seed"]
    assert table.columns[0] == ("default", 0)
    means = table.T.groupby(level="arm").mean().T
    spread = means.max(axis=1) - means.min(axis=1)
    assert (spread > 0).all()
    assert spread.is_monotonic_decreasing
    key = table.index[0]
    own = frames.records.query("benchmark == @key[0] and metric == @key[1] and example_id == @key[3] and control == ''")
    assert own.set_index(["arm", "seed"])["score"].loc["default", 1] == table.loc[key, ("default", 1)]


def test_a_name_that_is_no_study_is_told_with_what_there_is(runs):
    with pytest.raises(LavitError, match=r"no study 'quickstrat'[\s\S]*quickstart"):
        reports.load("quickstrat", runs)


def test_the_documented_notebook_runs_as_it_stands(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    section = DOCS.read_text(encoding="utf-8").partition("## In a notebook")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert blocks, "docs/reports.md has lost its example"
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), scope)
    best = scope["best"]
    assert isinstance(best, pd.DataFrame)
    assert len(best) > 0
