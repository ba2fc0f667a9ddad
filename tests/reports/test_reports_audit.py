"""What the audit and the page say of studies that are unfinished, mixed or small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from page_reader import PageReader
from synthetic_study import write_study

import reports
from experiments.errors import LavitError
from reports import report
from reports.audit import audit
from reports.check import Check
from reports.commits import commits_of
from reports.findings import warnings
from reports.frame import load
from reports.listing import amount, list_ledgers, list_runs
from reports.results import Results, analyse
from reports.trace import origins, read_tracking


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A study of three arms and two seeds, to be spoiled."""
    arms: dict[str, dict[str, str]] = {"default": {}, "llm=frozen": {"llm": "frozen"}, "x": {"tokens": "pooled"}}
    return write_study(tmp_path / "study", arms=arms, seeds=(0, 1), images=24, questions=1, pictures=0)


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FIGURES", ())


def checked(folder: Path) -> tuple[Results, dict[str, Check]]:
    """Its statistics, and the audit by name."""
    results = analyse(load(folder))
    return results, {check.name: check for check in audit(results)}


def rewrite(folder: Path, change: Any) -> None:
    """Change runs.json."""
    path = folder / "runs.json"
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def test_runs_of_several_commits_are_told_on_top_and_in_the_audit(small: Path) -> None:
    def one(body: dict[str, Any]) -> None:
        for run in body["runs"]:
            run["git"] = {"commit": "a" * 40, "dirty": False}

    rewrite(small, one)
    results, checks = checked(small)
    assert checks["Code"].state == "ok"
    assert not warnings(results)
    rewrite(small, lambda body: body["runs"][3].update(git={"pretrain": {"commit": "b" * 40, "dirty": True}}))
    results, checks = checked(small)
    assert checks["Code"].state == "warn"
    assert checks["Code"].items[1] == "bbbbbbbb with uncommitted changes: llm=frozen seed 1"
    assert any("2 states of the code" in line and "llm=frozen seed 1" in line for line in warnings(results))


def test_commits_are_read_in_every_form_that_a_run_may_have() -> None:
    assert commits_of({"commit": "a", "dirty": True}) == ("a+",)
    assert commits_of({"tokenizer": {"commit": "a"}, "pretrain": "b", "evaluate": {"commit": "a"}}) == ("a", "b")
    assert commits_of([{"commit": "a"}, "a"]) == ("a",)
    assert commits_of(None) == commits_of({}) == commits_of({"commit": None}) == ()


def test_unlike_references_are_told(small: Path) -> None:
    assert checked(small)[1]["Data"].state == "ok"
    path = small / "records" / "llm-frozen-s1.parquet"
    records = pd.read_parquet(path)
    where = (records["benchmark"] == "caption") & (records["example_id"] == "c3")
    records.loc[where, "reference"] = '["another picture altogether"]'
    records.to_parquet(path, index=False)
    check = checked(small)[1]["Data"]
    assert check.state == "warn"
    assert "first 'c3'" in check.items[0]
    page = reports.build(small).html.read_text()
    assert "judged by unlike references" in page.split("<main>")[0]


def test_ledgers_are_listed_by_stage_and_once_where_shared(small: Path) -> None:
    ledger = {"steps": 600, "flops": 5.2e12}
    rewrite(small, lambda body: [run["ledgers"].update(vision=ledger) for run in body["runs"]])
    listing = list_ledgers(checked(small)[0])
    assert listing is not None
    rows = {(row[0].text, row[1].text): [cell.text for cell in row] for row in listing.rows}
    assert rows["every arm", "vision"][2] == "1"
    assert ("default", "pretrain") in rows
    at = listing.heads.index("flops")
    assert rows["every arm", "vision"][at] == "5.2 T"
    assert amount(999_700_000.0) == "1000 M"


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("https://tracking.example:5000/ml/", "https://tracking.example:5000/ml"),
        ("http://user:secret@host", "http://host"),
        ("sqlite:////runs/mlflow.db", ""),
        ("/runs/mlruns", ""),
        ("javascript:alert(1)//", ""),
        ("http://a\"onmouseover='x'", ""),
        ("http://[::1", ""),
        ("databricks", ""),
    ],
)
def test_runs_link_to_a_server_and_never_elsewhere(small: Path, uri: str, server: str) -> None:
    (small / "mlflow.json").write_text(json.dumps({"tracking_uri": uri, "experiment_id": "7"}))
    results = checked(small)[0]
    tracking = read_tracking(results.frame)
    assert tracking.server == server
    listing = list_runs(results, origins(results))
    links = [cell.link for row in listing.rows for cell in row if cell.link]
    assert len(links) == (6 if server else 0)
    assert all(link.startswith(f"{server}/#/experiments/7/runs/") for link in links)
    assert "secret" not in "".join(links)
    if server == "http://host":
        page = PageReader(reports.build(small).html.read_text())
        assert page.asks_for_nothing()
        assert page.outward == links


def unfinished_default(folder: Path) -> None:
    """No run of the default arm is finished."""
    for path in (folder / "records").glob("default-*"):
        path.unlink()


def one_arm(folder: Path) -> None:
    """Only the default has run."""
    for path in (folder / "records").glob("*"):
        if not path.name.startswith("default"):
            path.unlink()


def one_arm_in_all(folder: Path) -> None:
    """The study has one arm."""
    one_arm(folder)
    document = yaml.safe_load((folder / "study.yaml").read_text())
    document["arms"] = {"default": document["arms"]["default"]}
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    (folder / "curves.parquet").unlink()
    rewrite(folder, lambda body: body.update(runs=[run for run in body["runs"] if run["arm"] == "default"]))


def no_benchmark(folder: Path) -> None:
    """One arm was not scored on a benchmark."""
    for path in (folder / "records").glob("llm-frozen-*"):
        records = pd.read_parquet(path)
        records[records["benchmark"] != "vqa"].to_parquet(path, index=False)


def one_seed(folder: Path) -> None:
    """Only the first seed has run."""
    for path in (folder / "records").glob("*-s1.parquet"):
        path.unlink()


def failed(folder: Path) -> None:
    """A run broke off."""
    (folder / "records" / "llm-frozen-s1.parquet").unlink()
    error = {"stage": "pretrain", "kind": "nan", "class": "TrainingError", "message": "loss is <nan>"}
    rewrite(folder, lambda body: body["runs"][3].update(status="failed", error=error))


def no_curves_no_runs(folder: Path) -> None:
    """Records alone, of one seed of two arms."""
    (folder / "runs.json").unlink()
    (folder / "curves.parquet").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unfinished_default, "The arm default has no finished run"),
        (one_arm, "The arm llm=frozen has no finished run"),
        (one_arm_in_all, "1 arm ×"),
        (no_benchmark, "llm=frozen was not scored on vqa"),
        (one_seed, "One seed per arm"),
        (failed, "1 failed"),
        (no_curves_no_runs, "no commit recorded"),
    ],
)
def test_whatever_is_there_is_shown_and_what_is_not_is_said(small: Path, spoil: Any, said: str) -> None:
    spoil(small)
    page = reports.build(small).html.read_text()
    assert said in page
    assert "nan" not in page.split("<main>")[0].replace("loss is &lt;nan&gt;", "")
    json.loads((small / "report.json").read_text())


def test_an_empty_folder_of_records_is_refused(small: Path) -> None:
    shutil.rmtree(small / "records")
    with pytest.raises(LavitError, match="no records"):
        reports.build(small)
